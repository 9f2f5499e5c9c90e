//! The sidecar's own ports, and what others are told about them.

use std::net::SocketAddr;

use pgha_core::{Addresses, MemberName};

use super::address::{HostPort, collide, parse_listen};
use super::error::ConfigError;
use super::peers::PeerList;
use super::resolver::Resolver;

/// Where the sidecar itself listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listeners {
    /// gRPC: peers and `pgha-ctl`.
    pub(crate) grpc: SocketAddr,
    /// Health checks and metrics.
    pub(crate) http: SocketAddr,
    /// The port that always is the primary.
    pub(crate) proxy_read_write: SocketAddr,
    /// The port that spreads reads.
    pub(crate) proxy_read_only: SocketAddr,
}

/// Addresses as others see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advertised {
    /// gRPC.
    pub(crate) raft: HostPort,
    /// PostgreSQL, for replication.
    pub(crate) postgres: HostPort,
    /// Health checks and metrics.
    pub(crate) http: HostPort,
    /// The read-write port.
    pub(crate) proxy_read_write: HostPort,
    /// The read-only port.
    pub(crate) proxy_read_only: HostPort,
}

impl From<&Advertised> for Addresses {
    fn from(advertised: &Advertised) -> Self {
        Self {
            raft: advertised.raft.to_string(),
            postgres: advertised.postgres.to_string(),
            http: advertised.http.to_string(),
            proxy_read_write: advertised.proxy_read_write.to_string(),
            proxy_read_only: advertised.proxy_read_only.to_string(),
        }
    }
}

pub(super) fn parse(resolver: &mut Resolver) -> Result<Listeners, ConfigError> {
    let grpc = resolver.required("listen", parse_listen)?;
    let http = resolver.required("http.listen", parse_listen)?;
    let proxy_read_write = resolver.required("proxy.read_write", parse_listen)?;
    let proxy_read_only = parse_read_only(resolver, proxy_read_write)?;
    Ok(Listeners {
        grpc,
        http,
        proxy_read_write,
        proxy_read_only,
    })
}

fn parse_read_only(
    resolver: &mut Resolver,
    read_write: SocketAddr,
) -> Result<SocketAddr, ConfigError> {
    const KEY: &str = "proxy.read_only";
    const OFFSET: u16 = 2000;
    let derived = || {
        read_write
            .port()
            .checked_add(OFFSET)
            .map(|port| SocketAddr::new(read_write.ip(), port))
    };
    let address = resolver
        .optional(KEY, parse_listen)?
        .or_else(derived)
        .ok_or_else(|| {
            let what =
                format!("the port of proxy.read_write + {OFFSET} is above 65535; give IP:PORT");
            ConfigError::Refused { key: KEY, what }
        })?;
    resolver.note(KEY, address);
    Ok(address)
}

/// What others are told: each port's own host where it has one, else the host of `advertise`.
pub(super) fn parse_advertised(
    resolver: &mut Resolver,
    name: &MemberName,
    peers: &PeerList,
    listeners: &Listeners,
    postgres: SocketAddr,
) -> Result<Advertised, ConfigError> {
    let raft = parse_raft(resolver, name, peers, listeners.grpc)?;
    let given = resolver.optional("postgres.advertise", str::parse)?;
    let postgres = given.unwrap_or_else(|| seen_by_others(&raft, postgres));
    resolver.note("postgres.advertise", &postgres);
    Ok(Advertised {
        postgres,
        http: seen_by_others(&raft, listeners.http),
        proxy_read_write: seen_by_others(&raft, listeners.proxy_read_write),
        proxy_read_only: seen_by_others(&raft, listeners.proxy_read_only),
        raft,
    })
}

fn parse_raft(
    resolver: &mut Resolver,
    name: &MemberName,
    peers: &PeerList,
    grpc: SocketAddr,
) -> Result<HostPort, ConfigError> {
    const KEY: &str = "advertise";
    let given: Option<HostPort> = resolver.optional(KEY, str::parse)?;
    let listed = peers.address(name).cloned();
    if let (Some(given), Some(listed)) = (&given, &listed)
        && given != listed
    {
        let what = format!("peers says {name}={listed}; make both equal, or leave advertise out");
        return Err(resolver.refusal(KEY, what));
    }
    let bound = || (!grpc.ip().is_unspecified()).then(|| HostPort::from(grpc));
    let raft = given.or(listed).or_else(bound).ok_or_else(|| {
        let what = format!(
            "listen is {grpc}, which nobody can dial; give advertise (--advertise HOST:PORT), or peers with this member in it"
        );
        ConfigError::Refused { key: KEY, what }
    })?;
    resolver.note(KEY, &raft);
    Ok(raft)
}

fn seen_by_others(raft: &HostPort, bound: SocketAddr) -> HostPort {
    if bound.ip().is_unspecified() {
        raft.at(bound.port())
    } else {
        bound.into()
    }
}

/// Two ports on one address: found here and not when the second bind fails half way into the start.
pub(super) fn refuse_collisions(
    listeners: &Listeners,
    postgres: SocketAddr,
) -> Result<(), ConfigError> {
    let ports = [
        ("listen", listeners.grpc),
        ("http.listen", listeners.http),
        ("proxy.read_write", listeners.proxy_read_write),
        ("proxy.read_only", listeners.proxy_read_only),
        ("postgres.listen", postgres),
    ];
    for (index, (earlier, left)) in ports.iter().enumerate() {
        for (key, right) in &ports[index + 1..] {
            if collide(*left, *right) {
                let what =
                    format!("{right} collides with {earlier} = {left}; give each its own port");
                return Err(ConfigError::Refused { key, what });
            }
        }
    }
    Ok(())
}
