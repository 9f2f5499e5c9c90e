//! Starting a member: from its store to the tasks that run.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use pgha_core::Mono;
use tokio::sync::watch;

use super::RaftNode;
use crate::clock;
use crate::core::Core;
use crate::election::doubt::Doubt;
use crate::election::ear::Ear;
use crate::election::supervisor::Supervisor;
use crate::machine::Machine;
use crate::membership::Changes;
use crate::network::channels::Channels;
use crate::network::client::{Factory, Links};
use crate::network::identity::Me;
use crate::network::service::RaftService;
use crate::options::{Options, OptionsError};
use crate::role::{self, Publisher};
use crate::store::Store;
use crate::types::Raft;

/// Why a member does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No cluster yet.
    #[error("the Raft store belongs to no cluster yet: form one or join one first")]
    Unbound,
    /// Timing that cannot work.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The snapshot is whole and not understood: a newer version wrote it.
    #[error(
        "the state in the Raft snapshot is not understood ({0}): start the version that wrote it, or a later one"
    )]
    Snapshot(#[source] serde_json::Error),
    /// openraft's words.
    #[error("Raft does not start: {0}")]
    Raft(String),
}

impl RaftNode {
    /// Starts the member that `store` is bound as, and puts it behind `service`.
    pub async fn start(
        store: Store,
        options: Options,
        service: &RaftService,
    ) -> Result<Self, StartError> {
        let core = Arc::new(build(store, options).await?);
        service.attach(Some(core.clone()));
        let (roles, role_view) = watch::channel(role::view(&core, clock::now()));
        let (fatal, fatal_view) = watch::channel(None);
        let publisher = Publisher {
            core: core.clone(),
            roles,
            fatal,
        };
        let (changes, changes_task) = Changes::start(core.clone());
        let tasks = vec![
            tokio::spawn(Supervisor::new(core.clone()).run()),
            tokio::spawn(publisher.run()),
            changes_task,
        ];
        Ok(Self {
            core,
            service: service.clone(),
            changes,
            roles: role_view,
            fatal: fatal_view,
            tasks,
        })
    }
}

async fn build(store: Store, options: Options) -> Result<Core, StartError> {
    let binding = store.binding().ok_or(StartError::Unbound)?;
    let config = options.config(&binding.cluster)?;
    let config = config
        .validate()
        .map_err(|error| StartError::Raft(error.to_string()))?;
    let me = Me::new(&binding, store.store_id());
    let links = Arc::new(Links {
        me,
        channels: Channels::default(),
        acks: Default::default(),
        generation_seen: watch::Sender::new(binding.generation),
        transfer_term: AtomicU64::new(0),
    });
    let ear = listen(&store, links.me.raft_id.0);
    let doubt = Doubt::new(options.in_doubt && store.has_entries());
    let (machine, state) = Machine::restore(store.clone()).map_err(StartError::Snapshot)?;
    let factory = Factory {
        links: links.clone(),
    };
    let raft_id = links.me.raft_id.0;
    let raft = Raft::new(raft_id, Arc::new(config), factory, store.clone(), machine)
        .await
        .map_err(|error| StartError::Raft(error.to_string()))?;
    Ok(Core {
        options,
        store,
        raft,
        links,
        ear,
        doubt,
        state,
        proposals: Default::default(),
    })
}

/// A member that had a part in Raft before waits a full lease for the leader that it may have had:
/// restarted next to a frozen candidate it must not make up its majority at once.
fn listen(store: &Store, me: u64) -> Ear {
    let elected = store.vote().filter(|vote| vote.committed);
    let leader = elected.map(|vote| vote.leader_id.node_id);
    let deaf_until = if store.has_entries() {
        clock::now()
    } else {
        Mono::ZERO
    };
    Ear::new(leader.filter(|&id| id != me), deaf_until)
}
