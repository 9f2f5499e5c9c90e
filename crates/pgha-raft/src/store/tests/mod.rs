//! The store on a real file system: openraft's own suite, lost processes, lost power, damaged
//! files, full and failing disks.

mod crash;
mod damage;
mod failing;
mod membership;
mod opening;
mod power;
mod recovering;
mod suite;
mod told;

use openraft::{CommittedLeaderId, EntryPayload};
use pgha_core::{Generation, RaftId};
use tokio::sync::oneshot;

use super::{Store, StoreFailure};
use crate::types::{Binding, Entry, FormedMember, LogId};

pub(super) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term, 1), index)
}

pub(super) fn blank(term: u64, index: u64) -> Entry {
    Entry {
        log_id: log_id(term, index),
        payload: EntryPayload::Blank,
    }
}

/// Appends and waits until the entries are durable.
pub(super) async fn append(store: &Store, entries: Vec<Entry>) -> Result<(), StoreFailure> {
    let (done, result) = oneshot::channel();
    store.append(entries, Box::new(|outcome| done.send(outcome).unwrap()));
    result.await.unwrap()
}

pub(super) fn binding(cluster_id: &str, raft_id: u64) -> Binding {
    Binding {
        cluster: "main".to_owned(),
        cluster_id: cluster_id.into(),
        generation: Generation(1),
        raft_id: RaftId(raft_id),
        members: vec![FormedMember {
            name: "n1".into(),
            raft_id: RaftId(raft_id),
            store_id: "s1".into(),
            address: "127.0.0.1:1".to_owned(),
            witness: false,
        }],
    }
}
