//! sled 0.34, and the only place that knows it.
//!
//! What is known about it shapes this file: its `flush` ends in `sync_file_range`, which survives a
//! killed process but neither a loss of power nor the growth of a file, so its data file is fsynced
//! through a handle of our own; large pages go to files that it never syncs, so that values are kept
//! in [pieces](super::pieces); it may panic instead of returning an error on a damaged file; its
//! iterators go on after an error; and a dropped database is closed a while later, by its own threads.

use std::any::Any;
use std::fs::{File, TryLockError};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::disk::{Change, Disk, DiskError, Record};
use super::pieces::Pieces;
use crate::clock;

const CACHE_BYTES: u64 = 16 * 1024 * 1024;
const DATA_FILE: &str = "db";
const CLOSED_WITHIN: Duration = Duration::from_secs(5);
const CLOSED_LOOK: Duration = Duration::from_millis(5);
/// sled's own index of its data file, written in passing; it can be built again from the data.
const INDEX_FILE_PREFIX: &str = "snap.";
/// Under this name a broken index is kept and not looked at again.
const SET_ASIDE_PREFIX: &str = "broken-";

/// A sled database whose commits are durable.
pub(crate) struct SledDisk {
    database: sled::Db,
    data_file: File,
    pieces: Pieces,
}

impl SledDisk {
    /// Opens the database in `dir`, creating it where there is none.
    pub(crate) fn open(dir: &Path) -> Result<Self, DiskError> {
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None);
        await_closed(&dir.join(DATA_FILE))?;
        let database = catch(|| config.open())?.map_err(sort)?;
        let data_file = File::open(dir.join(DATA_FILE)).map_err(DiskError::from_io)?;
        // What a killed process had written and not synced is read like all else, and answered for. sled
        // syncs when it opens, unless the log ends where a segment does.
        data_file.sync_data().map_err(DiskError::from_io)?;
        Ok(Self {
            database,
            data_file,
            pieces: Pieces::default(),
        })
    }

    /// Renames the index files, so that the next open reads the data file from its beginning. A
    /// process killed at the wrong moment leaves a broken index beside whole data; whether the data
    /// is whole is checked afterwards as ever. Tells whether there was one.
    pub(crate) fn set_index_aside(dir: &Path) -> io::Result<bool> {
        let mut found = false;
        for file in std::fs::read_dir(dir)? {
            let name = file?.file_name().to_string_lossy().into_owned();
            if name.starts_with(INDEX_FILE_PREFIX) {
                std::fs::rename(
                    dir.join(&name),
                    dir.join(format!("{SET_ASIDE_PREFIX}{name}")),
                )?;
                found = true;
            }
        }
        Ok(found)
    }
}

impl Disk for SledDisk {
    fn read_all(&mut self) -> Result<Vec<Record>, DiskError> {
        let database = &self.database;
        let stored = catch(|| {
            database
                .iter()
                .map(|item| item.map(|(key, value)| (key.to_vec(), value.to_vec())))
                .collect::<Result<Vec<_>, _>>()
        })?
        .map_err(sort)?;
        Ok(self.pieces.join(stored))
    }

    fn commit(&mut self, changes: Vec<Change>) -> io::Result<()> {
        let mut batch = sled::Batch::default();
        for change in changes
            .into_iter()
            .flat_map(|change| self.pieces.split(change))
        {
            match change {
                Change::Put(key, value) => batch.insert(key, value),
                Change::Remove(key) => batch.remove(key),
            }
        }
        self.database.apply_batch(batch)?;
        self.database.flush()?;
        self.data_file.sync_data()
    }

    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.database.size_on_disk()?)
    }
}

/// Waits until nobody has the data file locked: that sled cannot lock it says nothing about what is in
/// it. No other process has it, as the store's own lock is taken before.
fn await_closed(data_file: &Path) -> Result<(), DiskError> {
    let deadline = clock::now() + CLOSED_WITHIN;
    loop {
        let file = match File::open(data_file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(DiskError::from_io)?,
        };
        match file.try_lock() {
            // Not by closing alone: a process that is being started may have the file open for a moment.
            Ok(()) => return file.unlock().map_err(DiskError::Host),
            Err(TryLockError::WouldBlock) if clock::now() < deadline => thread::sleep(CLOSED_LOOK),
            Err(error) => return Err(DiskError::Host(error.into())),
        }
    }
}

/// sled asserts what a damaged file does not fulfil.
fn catch<T>(work: impl FnOnce() -> T) -> Result<T, DiskError> {
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|panic| DiskError::Damage(format!("sled panicked: {}", panic_text(&*panic))))
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without words")
}

fn sort(error: sled::Error) -> DiskError {
    match error {
        sled::Error::Io(error) => DiskError::from_io(error),
        sled::Error::CollectionNotFound(_)
        | sled::Error::Unsupported(_)
        | sled::Error::ReportableBug(_)
        | sled::Error::Corruption { .. } => DiskError::Damage(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_still_being_closed_is_waited_for() {
        let dir = tempfile::tempdir().expect("made");
        drop(SledDisk::open(dir.path()).expect("new"));
        await_closed(&dir.path().join(DATA_FILE)).expect("closed");
        let held = File::open(dir.path().join(DATA_FILE)).expect("there");
        held.lock().expect("free");
        let closing = thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            drop(held);
        });
        SledDisk::open(dir.path()).expect("opened once it is free");
        closing.join().expect("closed");
    }
}
