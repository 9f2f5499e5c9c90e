//! What openraft's adapter and the state machine use of the store.

use std::io;
use std::ops::RangeInclusive;
use std::sync::{Arc, PoisonError};

use openraft::EntryPayload;
use tokio::sync::oneshot;

use super::disk::Change;
use super::error::{StoreError, StoreFailure};
use super::image::Image;
use super::snapshot_file::{self, SnapshotFile};
use super::writer::{Done, Job};
use super::{Shared, Store};
use crate::types::{Entry, LogId, Vote};

impl Store {
    pub(crate) fn vote(&self) -> Option<Vote> {
        self.shared().image.head.vote
    }

    pub(crate) fn committed(&self) -> Option<LogId> {
        self.shared().image.head.committed
    }

    /// Purge mark and newest entry.
    pub(crate) fn ends(&self) -> (Option<LogId>, Option<LogId>) {
        let head = &self.shared().image.head;
        (head.purged, head.last)
    }

    pub(crate) fn entries(&self, indexes: RangeInclusive<u64>) -> Vec<Entry> {
        self.shared().image.range(indexes)
    }

    /// Readable when it returns; `done` is called when the entries are durable.
    pub(crate) fn append(&self, entries: Vec<Entry>, done: Done) {
        let unsent = {
            let mut shared = self.shared();
            let changes_membership = entries
                .iter()
                .any(|entry| matches!(entry.payload, EntryPayload::Membership(_)));
            match shared.image.append(entries) {
                Ok(changes) => {
                    if changes_membership {
                        shared.tell_membership();
                    }
                    shared.queue(changes, Some(done))
                }
                Err(error) => Some((
                    done,
                    StoreFailure {
                        action: "encoding an entry",
                        reason: error.to_string(),
                    },
                )),
            }
        };
        answer(unsent);
    }

    pub(crate) async fn save_vote(&self, vote: Vote) -> Result<(), StoreError> {
        self.durably(|image| {
            image.head.vote = Some(vote);
            Vec::new()
        })
        .await
    }

    /// Not awaited: a mark that is behind costs a restarted member some replay, nothing else.
    pub(crate) fn save_committed(&self, committed: Option<LogId>) {
        self.submit(
            |image| {
                image.head.committed = committed;
                Vec::new()
            },
            None,
        );
    }

    pub(crate) async fn truncate(&self, since: u64) -> Result<(), StoreError> {
        self.durably(|image| image.truncate(since)).await
    }

    pub(crate) async fn purge(&self, upto: LogId) -> Result<(), StoreError> {
        self.durably(|image| image.purge(upto)).await
    }

    pub(crate) fn snapshot(&self) -> Option<Arc<SnapshotFile>> {
        self.shared().snapshot.clone()
    }

    /// Replaces the snapshot and returns the one that is current then; durable when it returns.
    pub(crate) async fn save_snapshot(
        &self,
        snapshot: SnapshotFile,
    ) -> Result<Arc<SnapshotFile>, io::Error> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || store.replace_snapshot(snapshot))
            .await
            .map_err(io::Error::other)?
    }

    fn replace_snapshot(&self, snapshot: SnapshotFile) -> Result<Arc<SnapshotFile>, io::Error> {
        let _one_at_a_time = self
            .inner
            .snapshot_writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // One that was being built while a newer one came from the leader must not take its place:
        // the log up to the newer one is gone by then.
        if let Some(current) = self.snapshot()
            && current.meta.last_log_id > snapshot.meta.last_log_id
        {
            return Ok(current);
        }
        let snapshot = Arc::new(snapshot);
        snapshot_file::write(&self.inner.store_dir, &snapshot)?;
        let mut shared = self.shared();
        shared.snapshot = Some(snapshot.clone());
        shared.tell_membership();
        drop(shared);
        Ok(snapshot)
    }

    /// Changes the image and queues the write; `done` is called when it is durable.
    pub(super) fn submit(
        &self,
        change: impl FnOnce(&mut Image) -> Vec<Change>,
        done: Option<Done>,
    ) {
        let unsent = {
            let mut shared = self.shared();
            let changes = change(&mut shared.image);
            shared.queue(changes, done)
        };
        answer(unsent);
    }

    async fn durably(
        &self,
        change: impl FnOnce(&mut Image) -> Vec<Change>,
    ) -> Result<(), StoreError> {
        self.durably_if(|image| Ok(change(image))).await
    }

    /// Like `submit`, and waits. A refused change leaves the image as it was.
    pub(super) async fn durably_if(
        &self,
        change: impl FnOnce(&mut Image) -> Result<Vec<Change>, StoreError>,
    ) -> Result<(), StoreError> {
        let (done, result) = oneshot::channel();
        let unsent = {
            let mut shared = self.shared();
            let head = shared.image.head.clone();
            match change(&mut shared.image) {
                // Whoever asked may have gone away.
                Ok(changes) => {
                    shared.tell_membership();
                    shared.queue(changes, Some(Box::new(|outcome| drop(done.send(outcome)))))
                }
                Err(refused) => {
                    shared.image.head = head;
                    return Err(refused);
                }
            }
        };
        answer(unsent);
        result.await.map_or_else(
            |_| Err(closed()),
            |outcome| outcome.map_err(StoreError::Failed),
        )
    }
}

impl Shared {
    /// Hands the change to the writer; what it did not take is for the caller to answer, once it no
    /// longer holds the lock.
    fn queue(&self, changes: Vec<Change>, done: Option<Done>) -> Option<(Done, StoreFailure)> {
        let job = Job {
            changes,
            head: self.image.head.clone(),
            done,
        };
        let refused = match &self.jobs {
            Some(jobs) => jobs.send(job).err()?.0,
            None => job,
        };
        refused.done.map(|done| (done, ended()))
    }
}

fn answer(unsent: Option<(Done, StoreFailure)>) {
    if let Some((done, failure)) = unsent {
        done(Err(failure));
    }
}

fn ended() -> StoreFailure {
    StoreFailure {
        action: "reaching the writer thread",
        reason: "it has ended".to_owned(),
    }
}

pub(super) fn closed() -> StoreError {
    StoreError::Failed(ended())
}
