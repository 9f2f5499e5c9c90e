//! Everything that is asked for, from the moment that the ports are taken: before this member belongs to
//! a cluster it says what it waits for.

use std::net::TcpListener;
use std::sync::{Arc, OnceLock};

use pgha_core::Reason;
use pgha_proxy::Gate;
use pgha_raft::RaftService;
use tokio::sync::watch;

use super::clients::Clients;
use super::ports::Bound;
use crate::config::Config;
use crate::formation::Formation;
use crate::grpc;
use crate::http::{Health, router};
use crate::lease::{HolderShared, LeaseSlot};
use crate::services::{AdminService, MemberService, Shared};

/// What answers, and what it answers from once that is there.
pub(super) struct Front {
    pub(super) shared: Shared,
    pub(super) raft: RaftService,
    pub(super) lease: LeaseSlot,
    pub(super) gate: Arc<Gate>,
    pub(super) holder: Arc<HolderShared>,
    pub(super) clients: Clients,
}

impl Front {
    /// Answers gRPC, HTTP and, as far as that goes, clients of PostgreSQL.
    pub(super) fn open(
        config: &Arc<Config>,
        formation: &Arc<Formation>,
        bound: Bound,
        waiting: watch::Receiver<(Reason, String)>,
    ) -> anyhow::Result<Self> {
        let gate = Arc::new(Gate::new());
        let stats = bound.ports.stats();
        let front = Self {
            shared: Shared {
                config: Arc::clone(config),
                formation: Arc::clone(formation),
                joined: Arc::new(OnceLock::new()),
                waiting,
            },
            raft: RaftService::new(),
            lease: LeaseSlot::default(),
            clients: Clients::admit(bound.ports, &gate),
            gate,
            holder: Arc::new(HolderShared::new()),
        };
        let services = grpc::Services {
            raft: front.raft.clone(),
            lease: front.lease.clone(),
            member: MemberService(front.shared.clone()),
            admin: AdminService(front.shared.clone()),
        };
        grpc::start(bound.grpc, services)?;
        let health = Health {
            shared: front.shared.clone(),
            gate: Arc::clone(&front.gate),
            holder: Arc::clone(&front.holder),
            stats,
        };
        serve_http(bound.http, health)?;
        Ok(front)
    }
}

fn serve_http(listener: TcpListener, health: Health) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router(health)).await {
            tracing::error!(%error, "HTTP ended");
        }
    });
    Ok(())
}
