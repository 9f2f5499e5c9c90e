//! What the store says of the membership, and when.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, channel};

use openraft::EntryPayload;
use pgha_core::RaftId;
use tokio::sync::oneshot;

use super::{append, blank, log_id};
use crate::LogMembership;
use crate::store::disk::{Change, Disk, DiskError, Record};
use crate::store::{SnapshotFile, Store};
use crate::types::{Entry, Membership, Peer, SnapshotMeta, StoredMembership};

/// A disk that writes nothing until it is told to.
struct Held {
    disk: Box<dyn Disk>,
    go: Receiver<()>,
}

impl Disk for Held {
    fn read_all(&mut self) -> Result<Vec<Record>, DiskError> {
        self.disk.read_all()
    }

    fn commit(&mut self, changes: Vec<Change>) -> io::Result<()> {
        // The test is over where nobody tells any more.
        let _ = self.go.recv();
        self.disk.commit(changes)
    }

    fn size_bytes(&self) -> io::Result<u64> {
        self.disk.size_bytes()
    }
}

fn membership(sets: &[&[u64]]) -> Membership {
    let sets = sets.iter().map(|set| set.iter().copied().collect());
    Membership::new(sets.collect(), None)
}

fn entry(term: u64, index: u64, sets: &[&[u64]]) -> Entry {
    Entry {
        log_id: log_id(term, index),
        payload: EntryPayload::Membership(membership(sets)),
    }
}

/// Index and voters, and the voters before.
fn told(store: &Store) -> (Option<u64>, Vec<Vec<u64>>, Vec<Vec<u64>>) {
    let LogMembership {
        log_id,
        voters,
        previous_voters,
        ..
    } = (**store.membership().borrow()).clone();
    let plain = |sets: Vec<std::collections::BTreeSet<RaftId>>| {
        let sets = sets.into_iter();
        sets.map(|set| set.into_iter().map(|id| id.0).collect())
            .collect()
    };
    (
        log_id.map(|id| id.index),
        plain(voters),
        plain(previous_voters),
    )
}

#[tokio::test]
async fn a_membership_is_told_before_its_entry_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (release, go) = channel();
    let wrap = |disk| -> Box<dyn Disk> { Box::new(Held { disk, go }) };
    let store = Store::open_with(&dir.path().join("raft"), wrap).unwrap();
    let watched = store.membership();
    let (done, mut answered) = oneshot::channel();
    store.append(
        vec![blank(1, 0), entry(1, 1, &[&[1, 2, 3]])],
        Box::new(|outcome| done.send(outcome).unwrap()),
    );
    assert!(watched.has_changed().unwrap());
    assert_eq!(told(&store), (Some(1), vec![vec![1, 2, 3]], vec![]));
    assert!(answered.try_recv().is_err(), "it is not on disk yet");
    release.send(()).unwrap();
    answered.await.unwrap().unwrap();
}

/// Learners have no say in the lease.
#[tokio::test]
async fn a_learner_is_a_member_and_no_voter() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("raft")).unwrap();
    let peers: BTreeMap<u64, Peer> = (1..=4).map(|id| (id, Peer::default())).collect();
    let with_learner = Membership::new(vec![[1, 2, 3].into()], peers);
    let entry = Entry {
        log_id: log_id(1, 0),
        payload: EntryPayload::Membership(with_learner),
    };
    append(&store, vec![entry]).await.unwrap();
    assert_eq!(told(&store), (Some(0), vec![vec![1, 2, 3]], vec![]));
    let members = store.membership().borrow().members.clone();
    assert!(members.contains_key(&RaftId(4)), "{members:?}");
}

#[tokio::test]
async fn an_entry_that_is_taken_back_takes_its_membership_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("raft")).unwrap();
    assert_eq!(told(&store), (None, vec![], vec![]));
    let joint: &[&[u64]] = &[&[1, 2, 3], &[1, 2, 4]];
    let entries = vec![entry(1, 0, &[&[1, 2, 3]]), entry(1, 1, joint), blank(1, 2)];
    append(&store, entries).await.unwrap();
    let old = vec![vec![1, 2, 3]];
    let both = vec![vec![1, 2, 3], vec![1, 2, 4]];
    assert_eq!(told(&store), (Some(1), both, old.clone()));
    store.truncate(1).await.unwrap();
    assert_eq!(told(&store), (Some(0), old, vec![]));
}

#[tokio::test]
async fn what_left_the_log_is_known_by_the_snapshot_and_after_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft");
    let store = Store::open(&path).unwrap();
    let entries = vec![entry(1, 0, &[&[1, 2, 3]]), blank(1, 1), blank(1, 2)];
    append(&store, entries).await.unwrap();
    let of_four = StoredMembership::new(Some(log_id(1, 1)), membership(&[&[1, 2, 3, 4]]));
    let meta = SnapshotMeta {
        last_log_id: Some(log_id(1, 1)),
        last_membership: of_four,
        ..SnapshotMeta::default()
    };
    let state = b"{}".to_vec();
    store
        .save_snapshot(SnapshotFile { meta, state })
        .await
        .unwrap();
    let four = vec![vec![1, 2, 3, 4]];
    assert_eq!(told(&store), (Some(1), four.clone(), vec![]));
    store.purge(log_id(1, 1)).await.unwrap();
    append(&store, vec![entry(1, 3, &[&[1, 2, 4]])])
        .await
        .unwrap();
    let now = (Some(3), vec![vec![1, 2, 4]], four);
    assert_eq!(told(&store), now);
    drop(store);
    assert_eq!(told(&Store::open(&path).unwrap()), now);
}
