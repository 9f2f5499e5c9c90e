//! What a member must not forget: vote, log, adopted epoch, and whose they are.
//!
//! Reads come from memory. Writes go to one thread and are answered when they survive a loss of
//! power. A store that cannot vouch for all it ever answered for is moved aside: a member that
//! forgot a vote may elect a second leader (Raft paper, 5.2), one that forgot an entry may lose what
//! was acknowledged.

mod adapter;
mod disk;
mod durable;
mod error;
mod image;
mod log;
mod membership;
mod open;
mod pieces;
mod record;
mod recover;
mod rule_out;
mod sled_disk;
mod slots;
mod snapshot_file;
mod tip;
mod told;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use pgha_core::{Epoch, Generation, StoreId};
use tokio::sync::{oneshot, watch};

pub use error::{StoreError, StoreFailure};
pub use membership::LogMembership;
pub use record::RecordError;

use crate::types::Binding;
pub(crate) use disk::Disk;
#[cfg(test)]
pub(crate) use disk::{Change, DiskError, Record};
use image::Image;
pub(crate) use snapshot_file::SnapshotFile;
use writer::{Job, Writer};

/// An open store. Clones share it; the last one to go ends its thread and lets go of the lock.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Mutex<Shared>,
    store_id: StoreId,
    durable_epoch: Arc<AtomicU64>,
    durable_sequence: Arc<AtomicU64>,
    opened_sequence: u64,
    size_bytes: Arc<AtomicU64>,
    failure: watch::Receiver<Option<StoreFailure>>,
    told: told::Keeper,
    store_dir: PathBuf,
    snapshot_writer: Mutex<()>,
    writer: Option<JoinHandle<()>>,
    _lock: File,
}

/// Held for the moment in which the image changes and the change is queued: what is written has the
/// order of what was seen.
struct Shared {
    image: Image,
    /// Never long: openraft awaits each write before the next, and so does whoever adopts an epoch.
    /// Gone when the store closes.
    jobs: Option<mpsc::Sender<Job>>,
    snapshot: Option<Arc<SnapshotFile>>,
    membership: watch::Sender<Arc<LogMembership>>,
}

impl Store {
    /// Opens the store in `dir`, creating one where there never was any. Waits up to two seconds for
    /// another process to let go of it.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_with(dir, |disk| disk)
    }

    /// Opens the store with something between it and its database.
    pub(crate) fn open_with(
        dir: &Path,
        wrap: impl FnOnce(Box<dyn Disk>) -> Box<dyn Disk>,
    ) -> Result<Self, StoreError> {
        let opened = open::open(dir)?;
        let host = |error: std::io::Error| StoreError::Host {
            dir: dir.to_owned(),
            action: "starting a writer thread",
            reason: error.to_string(),
        };
        let (jobs, inbox) = mpsc::channel();
        let (failure, failed) = watch::channel(None);
        let told = told::Keeper::start(opened.told, failure.clone()).map_err(host)?;
        let durable_epoch = Arc::new(AtomicU64::new(opened.image.head.adopted_epoch.0));
        let durable_sequence = Arc::new(AtomicU64::new(opened.image.head.sequence));
        let size_bytes = Arc::new(AtomicU64::new(opened.disk.size_bytes().unwrap_or(0)));
        let writer = Writer {
            disk: wrap(opened.disk),
            tip: opened.tip,
            sequence: opened.image.head.sequence,
            jobs: inbox,
            failure,
            durable_epoch: durable_epoch.clone(),
            durable_sequence: durable_sequence.clone(),
            size_bytes: size_bytes.clone(),
        };
        let writer = thread::Builder::new()
            .name("raft-store".to_owned())
            .spawn(move || writer.run())
            .map_err(host)?;
        let store_id = opened.image.head.store_id.clone();
        let opened_sequence = opened.image.head.sequence;
        let membership = membership::of(&opened.image, opened.snapshot.as_ref());
        Ok(Self {
            inner: Arc::new(Inner {
                shared: Mutex::new(Shared {
                    image: opened.image,
                    jobs: Some(jobs),
                    snapshot: opened.snapshot.map(Arc::new),
                    membership: watch::Sender::new(Arc::new(membership)),
                }),
                store_id,
                durable_epoch,
                durable_sequence,
                opened_sequence,
                size_bytes,
                failure: failed,
                told,
                store_dir: opened.store_dir,
                snapshot_writer: Mutex::new(()),
                writer: Some(writer),
                _lock: opened.lock,
            }),
        })
    }

    /// Where damaged stores of this member were moved to, oldest first. A member that has any is not
    /// a new one: it answers "damaged" where a new one would answer "nothing here".
    pub fn quarantines(dir: &Path) -> Vec<PathBuf> {
        open::quarantines(dir)
    }

    /// The newest generation that ruled out a store of this member; none where none did.
    pub fn ruled_out_by(dir: &Path) -> Option<Generation> {
        rule_out::newest(dir)
    }

    /// Moves the store in `dir` aside, which a recovery of the quorum ruled out: from then on it is
    /// never opened again. It may be open, then the process has to end. Returns where it is now;
    /// durable when it returns. A failure may leave it marked: then the next open moves it aside.
    pub fn rule_out(dir: &Path, generation: Generation) -> std::io::Result<PathBuf> {
        rule_out::rule_out(dir, generation)
    }

    /// How often it was written, durably. Whoever was told of more has seen a later state of it than
    /// this one: an old copy was put back.
    pub fn sequence(&self) -> u64 {
        self.inner.durable_sequence.load(Ordering::SeqCst)
    }

    /// How often it had been written when it was opened. What an earlier process told of it is never
    /// more, unless an old copy was put back.
    pub fn opened_sequence(&self) -> u64 {
        self.inner.opened_sequence
    }

    /// Moves the store in `dir` aside, which is not what it was: never opened again from then on. It
    /// may be open, then the process has to end. Returns where it is now; durable when it returns.
    ///
    /// # Errors
    ///
    /// Where the directory cannot be renamed.
    pub fn set_aside(dir: &Path) -> std::io::Result<PathBuf> {
        rule_out::set_aside(dir)
    }

    /// Drawn when the store was created.
    pub fn store_id(&self) -> StoreId {
        self.inner.store_id.clone()
    }

    /// The cluster it belongs to.
    pub fn binding(&self) -> Option<Binding> {
        self.shared().image.head.binding.clone()
    }

    /// Whether Raft ever wrote here: a vote, an entry, a mark.
    pub fn has_entries(&self) -> bool {
        let shared = self.shared();
        shared.image.has_entries() || shared.snapshot.is_some()
    }

    /// Whether any entry is known to be committed.
    pub fn has_committed(&self) -> bool {
        let shared = self.shared();
        shared.image.head.committed.is_some() || shared.snapshot.is_some()
    }

    /// Resolves to the write that failed; from then on nothing is acknowledged and the process has
    /// to end.
    pub fn failure(&self) -> watch::Receiver<Option<StoreFailure>> {
        self.inner.failure.clone()
    }

    /// Bytes that the database takes on disk.
    pub fn size_bytes(&self) -> u64 {
        self.inner.size_bytes.load(Ordering::Relaxed)
    }

    /// Binds the store to a cluster; durable when it returns. A bound store takes only a binding of
    /// its own cluster and place, of the same generation or a later one.
    pub async fn bind(&self, binding: Binding) -> Result<(), StoreError> {
        self.durably_if(|image| {
            if let Some(bound) = &image.head.binding {
                let same =
                    bound.cluster_id == binding.cluster_id && bound.raft_id == binding.raft_id;
                if !same || bound.generation > binding.generation {
                    return Err(StoreError::BoundElsewhere {
                        bound_to: bound.cluster_id.clone(),
                        wanted: binding.cluster_id,
                    });
                }
            }
            image.head.binding = Some(binding);
            // Refused here, not by the writer, for which nothing can be too large any more.
            image.head.encode()?;
            Ok(Vec::new())
        })
        .await
    }

    /// Forgets a cluster that never came to be, with all votes and entries of it. Refused once an
    /// entry is committed.
    pub async fn unbind(&self) -> Result<(), StoreError> {
        let has_snapshot = self.shared().snapshot.is_some();
        self.durably_if(|image| match &image.head.binding {
            Some(bound) if has_snapshot || image.head.committed.is_some() => {
                Err(StoreError::NotPristine(bound.cluster_id.clone()))
            }
            _ => Ok(image.unbind()),
        })
        .await
    }

    /// The highest epoch that this member adopted and will not forget.
    pub fn adopted_epoch(&self) -> Epoch {
        Epoch(self.inner.durable_epoch.load(Ordering::SeqCst))
    }

    /// Adopts an epoch; durable when it returns. A lower one than adopted changes nothing.
    pub async fn adopt_epoch(&self, epoch: Epoch) -> Result<(), StoreError> {
        let (done, result) = oneshot::channel();
        self.adopt_epoch_then(epoch, move |outcome| {
            // Whoever asked may have gone away.
            let _ = done.send(outcome);
        });
        result.await.unwrap_or_else(|_| Err(log::closed()))
    }

    /// The same for a thread that must not wait: `then` is called when the epoch is durable, at once
    /// where it already is.
    pub fn adopt_epoch_then(
        &self,
        epoch: Epoch,
        then: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) {
        if epoch <= self.adopted_epoch() {
            return then(Ok(()));
        }
        self.submit(
            |image| {
                image.head.adopted_epoch = image.head.adopted_epoch.max(epoch);
                Vec::new()
            },
            Some(Box::new(|outcome| {
                then(outcome.map_err(StoreError::Failed));
            })),
        );
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.inner
            .shared
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .jobs = None;
        if let Some(writer) = self.writer.take() {
            // It ends when the queue is empty; what it could not write it has said already. The lock
            // must not go before it does.
            let _ = writer.join();
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("store_id", &self.inner.store_id)
            .field("store_dir", &self.inner.store_dir)
            .finish_non_exhaustive()
    }
}
