//! Snapshots of the replicated state (Raft paper, section 7).

use openraft::{AnyError, RaftSnapshotBuilder, StorageIOError};
use pgha_core::ClusterState;

use crate::store::{SnapshotFile, Store};
use crate::types::{LogId, Snapshot, SnapshotMeta, StorageError, StoredMembership, TypeConfig};

/// Writes the state it was made from, whatever is applied meanwhile.
pub(crate) struct Builder {
    pub store: Store,
    pub state: ClusterState,
    pub applied: Option<LogId>,
    pub membership: StoredMembership,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot, StorageError> {
        let state = serde_json::to_vec(&self.state)
            .map_err(|error| StorageIOError::read_state_machine(AnyError::new(&error)))?;
        let meta = SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
            snapshot_id: self
                .applied
                .map_or_else(|| "empty".to_owned(), |applied| applied.to_string()),
        };
        let signature = meta.signature();
        let file = self
            .store
            .save_snapshot(SnapshotFile { meta, state })
            .await
            .map_err(|error| {
                StorageIOError::write_snapshot(Some(signature), AnyError::new(&error))
            })?;
        Ok(of(&file))
    }
}

/// A snapshot file as openraft passes it around.
pub(crate) fn of(file: &SnapshotFile) -> Snapshot {
    Snapshot {
        meta: file.meta.clone(),
        snapshot: Box::new(file.state.clone()),
    }
}
