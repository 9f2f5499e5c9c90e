//! How far a holder of the lease said that its primary's WAL goes, kept beside the log.
//!
//! A loss is measured against it (P3), so it has to outlive the process that heard it. It comes with
//! every renewal, and no renewal may wait for a disk: a thread of its own writes the newest one, and
//! what came meanwhile follows. A crash costs what was being written.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::{fs, io};

use pgha_core::{Epoch, Lsn};
use tokio::sync::watch;

use super::Store;
use super::error::StoreFailure;
use super::slots::Slots;

const MAGIC: [u8; 8] = *b"pgha-tld";

type Told = (Epoch, Lsn);

/// The open file.
pub(super) struct ToldFile {
    /// The number of the write, epoch, position.
    slots: Slots<3>,
    number: u64,
    found: Option<Told>,
}

impl ToldFile {
    /// Opens the file, and makes it where there is none that is whole: before that nothing was told.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if let Ok((slots, Some([number, epoch, lsn]))) = Slots::open(path, MAGIC) {
            let found = Some((Epoch(epoch), Lsn(lsn)));
            return Ok(Self {
                slots,
                number,
                found: found.filter(|(epoch, _)| *epoch > Epoch::NONE),
            });
        }
        if let Err(error) = fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        Ok(Self {
            slots: Slots::create(path, MAGIC, [0; 3])?,
            number: 0,
            found: None,
        })
    }

    fn write(&mut self, (epoch, lsn): Told) -> io::Result<()> {
        self.number += 1;
        self.slots.write([self.number, epoch.0, lsn.0])
    }
}

#[derive(Default)]
struct Wanted {
    newest: Option<Told>,
    closed: bool,
}

/// Writes what is to be kept.
pub(super) struct Keeper {
    found: Option<Told>,
    wanted: Arc<(Mutex<Wanted>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn start(
        file: ToldFile,
        failure: watch::Sender<Option<StoreFailure>>,
    ) -> io::Result<Self> {
        let wanted = Wanted {
            newest: file.found,
            closed: false,
        };
        let found = file.found;
        let wanted = Arc::new((Mutex::new(wanted), Condvar::new()));
        let theirs = Arc::clone(&wanted);
        let thread = thread::Builder::new()
            .name("raft-told".to_owned())
            .spawn(move || {
                if let Err(error) = write_all(file, &theirs) {
                    tracing::error!(%error, "the Raft store failed");
                    failure.send_replace(Some(StoreFailure {
                        action: "writing the file `told`",
                        reason: error.to_string(),
                    }));
                }
            })?;
        Ok(Self {
            found,
            wanted,
            thread: Some(thread),
        })
    }

    fn keep(&self, told: Told) {
        let (wanted, changed) = &*self.wanted;
        let mut wanted = lock(wanted);
        if wanted.newest < Some(told) {
            wanted.newest = Some(told);
            changed.notify_one();
        }
    }
}

/// Until it is closed and everything is written.
fn write_all(mut file: ToldFile, (wanted, changed): &(Mutex<Wanted>, Condvar)) -> io::Result<()> {
    let mut written = file.found;
    loop {
        let waiting = |wanted: &mut Wanted| wanted.newest == written && !wanted.closed;
        let wanted = changed
            .wait_while(lock(wanted), waiting)
            .unwrap_or_else(PoisonError::into_inner);
        let newest = wanted.newest.filter(|_| wanted.newest != written);
        drop(wanted);
        let Some(newest) = newest else {
            return Ok(());
        };
        file.write(newest)?;
        written = Some(newest);
    }
}

fn lock(wanted: &Mutex<Wanted>) -> MutexGuard<'_, Wanted> {
    wanted.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Keeper {
    fn drop(&mut self) {
        lock(&self.wanted.0).closed = true;
        self.wanted.1.notify_one();
        if let Some(thread) = self.thread.take() {
            // What it could not write it has said already.
            let _ = thread.join();
        }
    }
}

impl Store {
    /// What [`Self::keep_told`] had written when the store was opened.
    pub fn told(&self) -> Option<(Epoch, Lsn)> {
        self.inner.told.found
    }

    /// Writes how far the holder of `epoch` said that its primary's WAL goes, as soon as may be, and waits
    /// for nothing. What is older than what it was given already changes nothing.
    pub fn keep_told(&self, epoch: Epoch, lsn: Lsn) {
        self.inner.told.keep((epoch, lsn));
    }
}
