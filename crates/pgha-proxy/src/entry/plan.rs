//! Who could serve a connection now.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::PortKind;
use super::balance;
use crate::gate::Pass;
use crate::preamble::{ForwardKind, Preamble};
use crate::protocol::FirstPacket;
use crate::routes::{ReadOnlyAddress, ReadOnlyTarget, Route, Routes};
use crate::shared::Shared;

/// Where a candidate is.
pub(super) enum Address {
    /// A PostgreSQL of this host.
    Postgres(SocketAddr),
    /// Another sidecar, to be introduced with a preamble.
    Sidecar { address: String, preamble: Preamble },
}

/// Somebody who may serve the connection, and the pass under which its bytes go.
pub(super) struct Candidate {
    pub(super) name: String,
    pub(super) address: Address,
    pub(super) pass: Pass,
    /// For the balancer: the target's key and count.
    pub(super) load: Option<(String, Arc<AtomicUsize>)>,
}

/// What can be done at this moment.
pub(super) enum Plan {
    /// Nothing, for this reason.
    Hold(String),
    /// Try these in turn.
    Try(Vec<Candidate>),
}

/// Looks at routes, gate and admission.
pub(super) fn plan(shared: &Shared, port: PortKind, routes: &Routes) -> Plan {
    match port {
        PortKind::ReadWrite => match primary(shared, routes, enter_new) {
            Ok(candidate) => Plan::Try(vec![candidate]),
            Err(why) => Plan::Hold(why),
        },
        PortKind::ReadOnly => read_only(shared, routes),
    }
}

/// Where cancel requests go: they are let through while new sessions are held.
pub(super) fn plan_cancel(shared: &Shared, port: PortKind) -> Vec<Candidate> {
    let routes = shared.routes();
    let mut candidates = match port {
        PortKind::ReadWrite => Vec::new(),
        PortKind::ReadOnly => all_replicas(shared, &routes),
    };
    if port == PortKind::ReadWrite || routes.fallback_to_primary {
        candidates.extend(primary(shared, &routes, enter_to_cancel));
    }
    candidates
}

/// Whether a connection that another sidecar introduced may be served here: only by this member's
/// own PostgreSQL, and as primary only of the very epoch that the other believes in.
pub(super) fn forwarded(
    shared: &Shared,
    port: PortKind,
    said: &Preamble,
    packet: FirstPacket,
) -> Option<Candidate> {
    let same_cluster = shared.cluster.get() == Some(&said.cluster);
    if !same_cluster || said.kind != port.forward_kind() || shared.is_stopping() {
        return None;
    }
    let routes = shared.routes();
    match said.kind {
        ForwardKind::ReadWrite => {
            let Route::Local { postgres } = routes.read_write else {
                return None;
            };
            let pass = match packet {
                FirstPacket::Cancel => enter_to_cancel(shared)?,
                FirstPacket::DirectTls
                | FirstPacket::GssEncryption
                | FirstPacket::Ssl
                | FirstPacket::Startup => enter_new(shared)?,
                // A forwarded connection is never forwarded again.
                FirstPacket::Forward(_) => return None,
            };
            (routes.epoch == said.epoch && pass.epoch == said.epoch)
                .then(|| local_primary(postgres, pass))
        }
        // A read breaks no promise whatever epoch its sender knows: admission decides.
        ForwardKind::ReadOnly if packet == FirstPacket::Cancel => all_replicas(shared, &routes)
            .into_iter()
            .find(|candidate| matches!(candidate.address, Address::Postgres(_))),
        ForwardKind::ReadOnly => replicas(shared, &routes)
            .into_iter()
            .find(|candidate| matches!(candidate.address, Address::Postgres(_))),
    }
}

fn read_only(shared: &Shared, routes: &Routes) -> Plan {
    let mut candidates = replicas(shared, routes);
    let mut why = "no replica is fit to serve reads".to_owned();
    if routes.fallback_to_primary {
        match primary(shared, routes, enter_new) {
            Ok(candidate) => candidates.push(candidate),
            Err(held) => why = format!("{why}, and {held}"),
        }
    }
    if candidates.is_empty() {
        Plan::Hold(why)
    } else {
        Plan::Try(candidates)
    }
}

/// Who may serve a new read, the least busy first.
fn replicas(shared: &Shared, routes: &Routes) -> Vec<Candidate> {
    if routes.read_only.is_empty() {
        return Vec::new();
    }
    let order = shared.balancer.order(&routes.read_only).into_iter();
    order
        .filter_map(|(target, sessions)| {
            let candidate = replica(shared, routes, target)?;
            Some(Candidate {
                load: Some((balance::key(target), sessions)),
                ..candidate
            })
        })
        .collect()
}

/// Who may run a read that began at any time.
fn all_replicas(shared: &Shared, routes: &Routes) -> Vec<Candidate> {
    let targets = routes.read_only.iter().chain(&routes.unfit_to_read);
    targets
        .filter_map(|target| replica(shared, routes, target))
        .collect()
}

fn replica(shared: &Shared, routes: &Routes, target: &ReadOnlyTarget) -> Option<Candidate> {
    let (address, pass) = match &target.address {
        ReadOnlyAddress::Local { postgres } => {
            (Address::Postgres(*postgres), shared.admission.enter()?)
        }
        ReadOnlyAddress::Remote { address } => {
            let preamble = preamble(shared, routes, ForwardKind::ReadOnly)?;
            let address = Address::Sidecar {
                address: address.clone(),
                preamble,
            };
            (address, shared.enter_unbound())
        }
    };
    Some(Candidate {
        name: format!("replica {}", target.member),
        address,
        pass,
        load: None,
    })
}

fn primary(
    shared: &Shared,
    routes: &Routes,
    enter: fn(&Shared) -> Option<Pass>,
) -> Result<Candidate, String> {
    match &routes.read_write {
        Route::Hold { why } => Err(why.clone()),
        Route::Local { postgres } => match enter(shared) {
            Some(pass) if pass.epoch == routes.epoch => Ok(local_primary(*postgres, pass)),
            Some(_) => Err("the primary's lease is of another epoch".to_owned()),
            None => Err("the gate of the primary is shut".to_owned()),
        },
        Route::Remote {
            member,
            address,
            epoch,
        } => {
            let pass = shared
                .enter_remote(*epoch)
                .ok_or_else(|| format!("the primary {member} of epoch {epoch} was replaced"))?;
            let preamble = Preamble {
                epoch: *epoch,
                ..preamble(shared, routes, ForwardKind::ReadWrite)
                    .ok_or("this member does not belong to a cluster yet")?
            };
            let address = Address::Sidecar {
                address: address.clone(),
                preamble,
            };
            Ok(Candidate {
                name: format!("primary {member}"),
                address,
                pass,
                load: None,
            })
        }
    }
}

fn enter_new(shared: &Shared) -> Option<Pass> {
    shared.gate.enter()
}

fn enter_to_cancel(shared: &Shared) -> Option<Pass> {
    shared.gate.enter_to_cancel()
}

fn local_primary(postgres: SocketAddr, pass: Pass) -> Candidate {
    let name = "the local primary".to_owned();
    Candidate {
        name,
        address: Address::Postgres(postgres),
        pass,
        load: None,
    }
}

fn preamble(shared: &Shared, routes: &Routes, kind: ForwardKind) -> Option<Preamble> {
    Some(Preamble {
        epoch: routes.epoch,
        kind,
        cluster: *shared.cluster.get()?,
    })
}
