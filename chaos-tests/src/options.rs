//! What a cluster under test is made of.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::netns::{Network, POSTGRES, RAFT, READ_ONLY, READ_WRITE};
use crate::ports::Ports;

/// A cluster to start; the defaults are pgha's own.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// How many members.
    pub members: usize,
    /// `--cluster`.
    pub cluster: String,
    /// `--initial KEY=VALUE`, the same on every member.
    pub initial: Vec<(String, String)>,
    /// Each member in a network namespace of its own (needs root).
    pub namespaces: bool,
    /// PostgreSQL offers TLS with a certificate made for this cluster.
    pub tls: bool,
    /// More flags for every member.
    pub flags: Vec<String>,
}

impl ClusterOptions {
    /// `members` members on loopback.
    pub fn new(members: usize) -> Self {
        Self {
            members,
            cluster: "chaos".to_owned(),
            initial: Vec::new(),
            namespaces: false,
            tls: false,
            flags: Vec::new(),
        }
    }

    /// Members in network namespaces.
    pub fn in_namespaces(mut self) -> Self {
        self.namespaces = true;
        self
    }

    /// With TLS.
    pub fn with_tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// With a setting of the new cluster.
    pub fn initial(mut self, key: &str, value: impl ToString) -> Self {
        self.initial.push((key.to_owned(), value.to_string()));
        self
    }

    /// With one more flag for every member.
    pub fn flag(mut self, flag: &str, value: &str) -> Self {
        self.flags.extend([flag.to_owned(), value.to_owned()]);
        self
    }
}

/// Where one member listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// gRPC.
    pub raft: SocketAddr,
    /// Health checks.
    pub http: SocketAddr,
    /// The port that always is the primary.
    pub read_write: SocketAddr,
    /// The port of the replicas.
    pub read_only: SocketAddr,
    /// PostgreSQL itself.
    pub postgres: SocketAddr,
}

impl Addresses {
    /// On loopback, with ports of the reservation.
    pub fn on_loopback(ports: &mut Ports) -> anyhow::Result<Self> {
        let mut next = || -> anyhow::Result<SocketAddr> {
            Ok(SocketAddr::new(
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                ports.take()?,
            ))
        };
        Ok(Self {
            raft: next()?,
            http: next()?,
            read_write: next()?,
            read_only: next()?,
            postgres: next()?,
        })
    }

    /// In the namespace of that index, where every default port is free.
    pub fn in_namespace(index: usize) -> Self {
        let at = |port| SocketAddr::new(Network::address(index), port);
        Self {
            raft: at(RAFT),
            http: at(8008),
            read_write: at(READ_WRITE),
            read_only: at(READ_ONLY),
            postgres: at(POSTGRES),
        }
    }
}
