//! A store that is well: what it keeps over a restart, whom it lets in.

use std::path::Path;
use std::time::Duration;

use pgha_core::{Epoch, Generation};

use super::{append, binding, blank, log_id};
use crate::store::{SnapshotFile, Store, StoreError};
use crate::types::{SnapshotMeta, Vote};

#[tokio::test]
async fn keeps_everything_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft");
    let store = Store::open(&path).unwrap();
    let store_id = store.store_id();
    assert!(!store.has_entries() && !store.has_committed() && store.binding().is_none());
    assert_eq!(store_id.0.len(), 32);

    store.bind(binding("c1", 1)).await.unwrap();
    store.adopt_epoch(Epoch(7)).await.unwrap();
    store.adopt_epoch(Epoch(3)).await.unwrap();
    store.save_vote(Vote::new(4, 1)).await.unwrap();
    append(&store, (0..10).map(|index| blank(4, index)).collect())
        .await
        .unwrap();
    store.truncate(8).await.unwrap();
    append(&store, vec![blank(5, 8)]).await.unwrap();
    store.save_committed(Some(log_id(4, 6)));
    let meta = SnapshotMeta {
        last_log_id: Some(log_id(4, 5)),
        ..SnapshotMeta::default()
    };
    let state = b"{}".to_vec();
    store
        .save_snapshot(SnapshotFile { meta, state })
        .await
        .unwrap();
    store.purge(log_id(4, 3)).await.unwrap();
    drop(store);

    let store = Store::open(&path).unwrap();
    assert_eq!(store.store_id(), store_id);
    assert_eq!(store.binding(), Some(binding("c1", 1)));
    assert_eq!(store.adopted_epoch(), Epoch(7));
    assert_eq!(store.vote(), Some(Vote::new(4, 1)));
    assert_eq!(store.ends(), (Some(log_id(4, 3)), Some(log_id(5, 8))));
    let kept: Vec<_> = store
        .entries(0..=99)
        .iter()
        .map(|entry| entry.log_id)
        .collect();
    let expected = [(4, 4), (4, 5), (4, 6), (4, 7), (5, 8)];
    assert_eq!(kept, expected.map(|(term, index)| log_id(term, index)));
    assert_eq!(store.committed(), Some(log_id(4, 6)));
    assert!(store.has_entries() && store.has_committed());
    assert_eq!(store.snapshot().unwrap().state, b"{}");
    assert!(store.size_bytes() > 0);
}

#[tokio::test]
async fn an_older_snapshot_does_not_replace_a_newer_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("raft")).unwrap();
    let file = |index| SnapshotFile {
        meta: SnapshotMeta {
            last_log_id: Some(log_id(1, index)),
            ..SnapshotMeta::default()
        },
        state: index.to_string().into_bytes(),
    };
    store.save_snapshot(file(9)).await.unwrap();
    let current = store.save_snapshot(file(5)).await.unwrap();
    assert_eq!(current.state, b"9");
    assert_eq!(store.snapshot().unwrap().state, b"9");
}

#[tokio::test]
async fn a_binding_stays_with_its_cluster_and_goes_only_unused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("raft")).unwrap();
    let first = binding("c1", 1);
    store.bind(first.clone()).await.unwrap();
    for other in [binding("c2", 1), binding("c1", 2)] {
        let refused = store.bind(other).await.unwrap_err();
        assert!(
            matches!(refused, StoreError::BoundElsewhere { .. }),
            "{refused}"
        );
    }
    let later = Generation(2);
    let raised = crate::Binding {
        generation: later,
        ..first.clone()
    };
    store.bind(raised.clone()).await.unwrap();
    assert!(store.bind(first).await.is_err());
    assert_eq!(store.binding(), Some(raised));

    // Voted and wrote, but nothing was committed: the cluster never came to be.
    store.save_vote(Vote::new(1, 1)).await.unwrap();
    append(&store, vec![blank(0, 0)]).await.unwrap();
    store.unbind().await.unwrap();
    assert!(store.binding().is_none() && !store.has_entries());
    assert!(store.entries(0..=9).is_empty());

    store.bind(binding("c2", 5)).await.unwrap();
    append(&store, vec![blank(0, 0)]).await.unwrap();
    store.save_committed(Some(log_id(0, 0)));
    let refused = store.unbind().await.unwrap_err();
    assert!(matches!(refused, StoreError::NotPristine(_)), "{refused}");
    assert_eq!(store.binding(), Some(binding("c2", 5)));
}

#[test]
fn names_the_process_that_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft");
    let store = Store::open(&path).unwrap();
    let text = Store::open(&path).unwrap_err().to_string();
    assert!(
        text.contains(&format!("process {}", std::process::id())),
        "{text}"
    );
    assert!(text.contains(&path.display().to_string()), "{text}");
    drop(store);
    Store::open(&path).unwrap();
}

#[test]
fn waits_for_a_process_that_is_leaving() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft");
    let store = Store::open(&path).unwrap();
    let leaving = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        drop(store);
    });
    Store::open(&path).unwrap();
    leaving.join().unwrap();
}

#[test]
fn what_was_moved_aside_is_found_where_an_earlier_one_was_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft");
    let aside = |number| dir.path().join(format!("raft.quarantined-{number}"));
    for number in 1..=10 {
        drop(Store::open(&path).unwrap());
        assert_eq!(Store::set_aside(&path).unwrap(), aside(number));
    }
    for number in (1..=8).chain([10]) {
        std::fs::remove_dir_all(aside(number)).unwrap();
    }
    for other in ["raft.quarantined-x", "raft2.quarantined-4", "raft.old"] {
        std::fs::create_dir(dir.path().join(other)).unwrap();
    }
    assert_eq!(Store::quarantines(&path), [aside(9)]);
    // The oldest stays the first.
    drop(Store::open(&path).unwrap());
    assert_eq!(Store::set_aside(&path).unwrap(), aside(10));
    assert_eq!(Store::quarantines(&path), [aside(9), aside(10)]);
    assert!(Store::quarantines(Path::new("none-of-that-name")).is_empty());
}

#[test]
fn a_store_that_was_never_finished_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft");
    std::fs::create_dir_all(path.join("store.new/log")).unwrap();
    std::fs::write(path.join("store.new/log/db"), b"half").unwrap();
    let store = Store::open(&path).unwrap();
    assert!(!store.has_entries());
    assert!(Store::quarantines(&path).is_empty());
}
