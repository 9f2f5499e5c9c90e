//! The gRPC services beside Raft's own.

mod admin;
mod doctor;
mod explain;
mod member;
mod on_main;
mod status;
mod target;

use std::sync::{Arc, OnceLock};

use pgha_core::{Mono, Reason};
use pgha_raft::RaftNode;
use tokio::sync::watch;

use crate::agent::Published;
use crate::config::Config;
use crate::formation::Formation;
use crate::lease::Grants;
use crate::peers::Peers;
use crate::server::Site;
use crate::written::OwnStore;

pub(crate) use admin::AdminService;
pub(crate) use member::{ANSWER_MAX, MemberService, ask_peers, forming};
pub(crate) use on_main::OnMain;

/// What the services need of a member that belongs to a cluster.
pub(crate) struct Joined {
    /// When this process began.
    pub(crate) started: Mono,
    pub(crate) raft: Arc<RaftNode>,
    pub(crate) grants: Arc<Grants>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) own_store: Arc<OwnStore>,
    pub(crate) published: watch::Receiver<Arc<Published>>,
    /// None on a witness.
    pub(crate) site: Option<Arc<Site>>,
}

/// What all services share; the second half comes with the cluster.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) formation: Arc<Formation>,
    pub(crate) joined: Arc<OnceLock<Joined>>,
    /// What is waited for before there is a cluster.
    pub(crate) waiting: watch::Receiver<(Reason, String)>,
}
