//! The ports: taken before anything else is touched.

use std::net::TcpListener;

use pgha_proxy::{Limits, Ports, PortsConfig};

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
        let ports_config = PortsConfig {
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
