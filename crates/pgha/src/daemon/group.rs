//! The Raft group: started, and given the first entry of its cluster.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use pgha_core::command::Create;
use pgha_core::{Command, Secret};
use pgha_raft::{Binding, InitializeError, Options, RaftNode, RaftService, Store};

use crate::config::Config;
use crate::formation::{Entry, Formation};

const CREATE_MAX: Duration = Duration::from_secs(5);
const CREATE_PAUSE: Duration = Duration::from_millis(100);

/// This member's part in the Raft group.
pub(super) struct Group {
    pub(super) raft: Arc<RaftNode>,
    pub(super) binding: Binding,
}

impl Group {
    /// Starts Raft on a store that is bound to a cluster.
    pub(super) async fn start(
        store: &Store,
        service: &RaftService,
        entry: Entry,
    ) -> anyhow::Result<Self> {
        let options = Options {
            in_doubt: entry.in_doubt,
            ..Options::default()
        };
        let raft = RaftNode::start(store.clone(), options, service).await?;
        let binding = store.binding().context("the store is bound by now")?;
        if entry.initialize {
            raft.initialize(&binding.members)
                .await
                .or_else(|error| match error {
                    InitializeError::NotPristine(_) => Ok(()),
                    other => Err(other),
                })?;
        }
        Ok(Self {
            raft: Arc::new(raft),
            binding,
        })
    }
}

/// Writes the cluster's first entry; on whoever leads, until it is there.
pub(super) async fn found(raft: Arc<RaftNode>, config: Arc<Config>, formation: Arc<Formation>) {
    let mut state = raft.state();
    while !state.borrow_and_update().state.is_created() {
        let leads = raft.role().borrow().is_leader;
        if let (true, Some(members)) = (leads, formation.listed_members()) {
            let binding = raft.store().binding();
            let Some(binding) = binding else { return };
            let create = Create {
                cluster: binding.cluster,
                cluster_id: binding.cluster_id,
                generation: binding.generation,
                members,
                settings: config.initial.clone(),
                replication_secret: Secret::new(format!("{:032x}", rand::random::<u128>())),
            };
            if let Err(error) = raft.propose(Command::Create(create), CREATE_MAX).await {
                tracing::debug!(%error, "the cluster's first entry was not written");
            }
        }
        let _ = tokio::time::timeout(CREATE_PAUSE, state.changed()).await;
    }
}
