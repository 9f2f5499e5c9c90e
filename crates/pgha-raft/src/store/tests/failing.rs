//! Disks that fail or stall under a running store.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgha_core::Epoch;

use super::{append, blank};
use crate::store::disk::{Change, Disk, DiskError, Record};
use crate::store::{Store, StoreError};
use crate::types::Vote;

/// Fails once, then would work again: as a file system does after an fsync that failed.
struct FailsOnce {
    disk: Box<dyn Disk>,
    fail: Arc<AtomicBool>,
}

impl Disk for FailsOnce {
    fn read_all(&mut self) -> Result<Vec<Record>, DiskError> {
        self.disk.read_all()
    }

    fn commit(&mut self, changes: Vec<Change>) -> io::Result<()> {
        if self.fail.swap(false, Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(nix::libc::EIO));
        }
        self.disk.commit(changes)
    }

    fn size_bytes(&self) -> io::Result<u64> {
        self.disk.size_bytes()
    }
}

#[tokio::test]
async fn acknowledges_nothing_after_a_failed_write() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft");
    let fail = Arc::new(AtomicBool::new(false));
    let switch = fail.clone();
    let store = Store::open_with(&path, |disk| Box::new(FailsOnce { disk, fail })).unwrap();
    append(&store, vec![blank(1, 0)]).await.unwrap();
    let mut failure = store.failure();
    assert!(failure.borrow_and_update().is_none());

    switch.store(true, Ordering::SeqCst);
    assert!(append(&store, vec![blank(1, 1)]).await.is_err());
    let deadline = Duration::from_secs(5);
    let seen = tokio::time::timeout(deadline, failure.wait_for(Option::is_some));
    assert!(seen.await.unwrap().unwrap().is_some());

    // The disk would work again; nobody may rely on it.
    assert!(append(&store, vec![blank(1, 2)]).await.is_err());
    let refused = store.save_vote(Vote::new(2, 1)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Failed(_)), "{refused}");
    assert!(store.adopt_epoch(Epoch(5)).await.is_err());
    assert_eq!(store.adopted_epoch(), Epoch::NONE);
    drop(store);

    let store = Store::open(&path).unwrap();
    assert_eq!(store.entries(0..=9), vec![blank(1, 0)]);
    assert_eq!(store.vote(), None);
}
