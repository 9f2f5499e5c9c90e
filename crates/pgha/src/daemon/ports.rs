//! The ports: taken before anything else is touched.

use std::net::TcpListener;

use pgha_core::ClusterId;
use pgha_proxy::{ClusterTag, Limits, Ports, PortsConfig};

use crate::config::Config;
use crate::rundir;

/// Bound ports: from here on nothing that is taken can surprise.
pub(super) struct Bound {
    pub(super) grpc: TcpListener,
    pub(super) http: TcpListener,
    pub(super) ports: Ports,
}

impl Bound {
    pub(super) fn bind(config: &Config) -> anyhow::Result<Self> {
        let listeners = &config.listeners;
        // Nobody is accepted before the cluster is known, so that no forwarded connection is
        // checked against this empty one.
        let ports_config = PortsConfig {
            cluster: ClusterTag::of(&ClusterId::default()),
            limits: Limits::default(),
        };
        Ok(Self {
            grpc: bind("listen", listeners.grpc)?,
            http: bind("http.listen", listeners.http)?,
            ports: Ports::bind(
                listeners.proxy_read_write,
                listeners.proxy_read_only,
                ports_config,
            )?,
        })
    }
}

fn bind(key: &str, address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = rundir::listen(key, address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
