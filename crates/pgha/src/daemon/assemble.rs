//! Puts the agent together, and lets everybody who is asked see it.

use std::sync::Arc;

use pgha_core::MemberKind;
use pgha_core::decide::{Data, Local, Me, Tree};
use pgha_postgres::WAL_PAGE_BYTES;
use pgha_proxy::{Gate, ReadOnlyAdmission, Routes};
use pgha_raft::RaftNode;
use tokio::sync::watch;

use super::Process;
use super::lease::Lease;
use crate::agent::{Agent, Parts};
use crate::lease::HolderShared;
use crate::peers::Peers;
use crate::server::{Site, Worker};
use crate::services::{Joined, Shared};
use crate::wake::Wake;
use crate::written::OwnStore;

/// What the agent is linked to.
pub(super) struct Links {
    pub(super) raft: Arc<RaftNode>,
    pub(super) own_store: Arc<OwnStore>,
    pub(super) lease: Lease,
    pub(super) gate: Arc<Gate>,
    pub(super) holder: Arc<HolderShared>,
    pub(super) admission: Arc<ReadOnlyAdmission>,
    pub(super) routes: watch::Sender<Arc<Routes>>,
    pub(super) site: Option<Arc<Site>>,
    pub(super) wake: Wake,
    pub(super) shutdown: watch::Receiver<bool>,
}

/// The agent, on a tree that is proven empty.
pub(super) fn assemble(process: &Process, shared: &Shared, links: Links) -> Agent {
    let config = &process.config;
    let Lease { grants, holder } = links.lease;
    let peers = Arc::new(Peers::new(
        config.name.clone(),
        Arc::clone(&links.raft),
        Arc::clone(&links.own_store),
        links.wake.clone(),
    ));
    let kind = if config.witness {
        MemberKind::Witness
    } else {
        MemberKind::Data
    };
    let parts = Parts {
        config: Arc::clone(config),
        me: Me {
            name: config.name.clone(),
            nonce: process.nonce,
            kind,
        },
        raft: Arc::clone(&links.raft),
        grants: Arc::clone(&grants),
        holder,
        shared: links.holder,
        gate: links.gate,
        admission: links.admission,
        routes: links.routes,
        peers: Arc::clone(&peers),
        worker: links.site.clone().map(Worker::new),
        wake: links.wake,
        shutdown: links.shutdown,
    };
    let local = Local {
        tree: Tree::Empty,
        data: Data::Unknown,
        wal_page_bytes: WAL_PAGE_BYTES,
        ..Local::default()
    };
    let agent = Agent::new(parts, local);
    let _ = shared.joined.set(Joined {
        started: process.started,
        raft: links.raft,
        grants,
        peers,
        own_store: links.own_store,
        published: agent.published(),
        site: links.site,
    });
    agent
}
