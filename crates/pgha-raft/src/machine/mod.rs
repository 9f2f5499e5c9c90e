//! The replicated state in memory: rebuilt from the snapshot file and the log behind it at each
//! start, published after every change.

mod snapshot;

use std::collections::BTreeSet;
use std::sync::Arc;

use openraft::storage::RaftStateMachine;
use openraft::{AnyError, EntryPayload, OptionalSend, StorageIOError};
use pgha_core::{Applied, ClusterState, RaftId};
use pgha_proto::v1;
use tokio::sync::watch;

use crate::store::{SnapshotFile, Store};
use crate::types::{
    Entry, LogId, Snapshot, SnapshotMeta, StorageError, StoredMembership, TypeConfig, log_id_out,
};
use snapshot::Builder;

/// The replicated state after some entry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StateView {
    /// The state itself.
    pub state: ClusterState,
    /// The entry it is the state after; none before the first one.
    pub applied: Option<v1::LogId>,
    /// The membership entry that applied last, which is committed.
    pub membership: Option<v1::LogId>,
    /// Its voters: one set, or two while a change is joint.
    pub voters: Vec<BTreeSet<RaftId>>,
}

impl StateView {
    /// Index of the entry that it is the state after; 0 before the first one.
    pub fn applied_index(&self) -> u64 {
        self.applied.map_or(0, |applied| applied.index)
    }
}

/// openraft's state machine.
pub(crate) struct Machine {
    store: Store,
    state: ClusterState,
    applied: Option<LogId>,
    membership: StoredMembership,
    view: watch::Sender<Arc<StateView>>,
}

impl Machine {
    /// The state of the snapshot file; openraft applies the log behind it.
    pub(crate) fn restore(
        store: Store,
    ) -> Result<(Self, watch::Receiver<Arc<StateView>>), serde_json::Error> {
        let (view, receiver) = watch::channel(Arc::default());
        let mut machine = Self {
            state: ClusterState::default(),
            applied: None,
            membership: StoredMembership::default(),
            view,
            store,
        };
        if let Some(snapshot) = machine.store.snapshot() {
            machine.replace(&snapshot.meta, &snapshot.state)?;
        }
        Ok((machine, receiver))
    }

    fn replace(&mut self, meta: &SnapshotMeta, state: &[u8]) -> Result<(), serde_json::Error> {
        self.state = serde_json::from_slice(state)?;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.publish();
        Ok(())
    }

    fn apply_one(&mut self, entry: Entry) -> Applied {
        self.applied = Some(entry.log_id);
        match entry.payload {
            EntryPayload::Blank => Ok(()),
            EntryPayload::Normal(command) => self.state.apply(entry.log_id.index, &command),
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
                Ok(())
            }
        }
    }

    fn publish(&self) {
        let voters = self.membership.membership().get_joint_config();
        self.view.send_replace(Arc::new(StateView {
            state: self.state.clone(),
            applied: self.applied.as_ref().map(log_id_out),
            membership: self.membership.log_id().as_ref().map(log_id_out),
            voters: voters
                .iter()
                .map(|set| set.iter().copied().map(RaftId).collect())
                .collect(),
        }));
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Applied>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let outcomes = entries
            .into_iter()
            .map(|entry| self.apply_one(entry))
            .collect();
        self.publish();
        Ok(outcomes)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            store: self.store.clone(),
            state: self.state.clone(),
            applied: self.applied,
            membership: self.membership.clone(),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Vec<u8>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Vec<u8>>,
    ) -> Result<(), StorageError> {
        let broken =
            |error: AnyError| StorageIOError::write_snapshot(Some(meta.signature()), error);
        // Understood before it replaces the one that is: a snapshot of a newer program is refused.
        let understood: Result<ClusterState, _> = serde_json::from_slice(&snapshot);
        understood.map_err(|error| broken(AnyError::new(&error)))?;
        let file = self
            .store
            .save_snapshot(SnapshotFile {
                meta: meta.clone(),
                state: *snapshot,
            })
            .await
            .map_err(|error| broken(AnyError::new(&error)))?;
        self.replace(&file.meta, &file.state)
            .map_err(|error| broken(AnyError::new(&error)).into())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        Ok(self.store.snapshot().map(|file| snapshot::of(&file)))
    }
}
