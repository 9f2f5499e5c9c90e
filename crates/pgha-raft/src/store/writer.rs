//! The one thread that writes. What queued up while it was writing goes out together: one database
//! commit, one fsync of it, one of the witness file, then all answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use pgha_core::Epoch;
use tokio::sync::watch;

use super::disk::{Change, Disk};
use super::error::StoreFailure;
use super::image::{HEAD_KEY, Head};
use super::tip::Tip;

/// Called once, when the write is durable or has failed.
pub(crate) type Done = Box<dyn FnOnce(Result<(), StoreFailure>) + Send>;

/// One change of the store.
pub(crate) struct Job {
    pub changes: Vec<Change>,
    /// The head after this change.
    pub head: Head,
    pub done: Option<Done>,
}

/// As many changes go out together at most.
const GROUP_MAX: usize = 256;

pub(crate) struct Writer {
    pub disk: Box<dyn Disk>,
    pub tip: Tip,
    pub sequence: u64,
    pub jobs: Receiver<Job>,
    pub failure: watch::Sender<Option<StoreFailure>>,
    pub durable_epoch: Arc<AtomicU64>,
    pub durable_sequence: Arc<AtomicU64>,
    pub size_bytes: Arc<AtomicU64>,
}

impl Writer {
    /// Runs until nobody can send any more. After a failure nothing is written and everything is
    /// refused: what the disk holds is unknown from there on.
    pub(crate) fn run(mut self) {
        let mut failed = None;
        while let Ok(first) = self.jobs.recv() {
            let mut group = vec![first];
            group.extend(self.jobs.try_iter().take(GROUP_MAX - 1));
            let result = match &failed {
                Some(failure) => Err(StoreFailure::clone(failure)),
                None => self.write(&mut group),
            };
            if let (Err(failure), None) = (&result, &failed) {
                tracing::error!(%failure, "the Raft store failed");
                self.failure.send_replace(Some(failure.clone()));
                failed = Some(failure.clone());
            }
            for done in group.into_iter().filter_map(|job| job.done) {
                done(result.clone());
            }
        }
    }

    fn write(&mut self, group: &mut [Job]) -> Result<(), StoreFailure> {
        let sequence = self.sequence + 1;
        let mut changes = Vec::new();
        for job in group.iter_mut() {
            changes.append(&mut job.changes);
        }
        let Some(newest) = group.last_mut() else {
            return Ok(());
        };
        newest.head.sequence = sequence;
        let head = newest
            .head
            .encode()
            .map_err(|error| failure("encoding the head record", &error))?;
        changes.push(Change::Put(HEAD_KEY.to_vec(), head));

        self.disk
            .commit(changes)
            .map_err(|error| failure("writing the log", &error))?;
        self.tip
            .write(sequence)
            .map_err(|error| failure("writing the file `tip`", &error))?;
        self.sequence = sequence;
        let Epoch(epoch) = newest.head.adopted_epoch;
        self.durable_epoch.store(epoch, Ordering::SeqCst);
        self.durable_sequence.store(sequence, Ordering::SeqCst);
        if let Ok(bytes) = self.disk.size_bytes() {
            self.size_bytes.store(bytes, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn failure(action: &'static str, error: &dyn std::error::Error) -> StoreFailure {
    StoreFailure {
        action,
        reason: error.to_string(),
    }
}
