//! How a store is created, opened and, in doubt, moved aside.
//!
//! ```text
//! <dir>/lock           held while the store is open; names the process
//! <dir>/store/log/     the database
//! <dir>/store/tip      how far it was durable
//! <dir>/store/told     how far a holder of the lease said that it came
//! <dir>/store/snapshot the newest Raft snapshot
//! <dir>/store/opening  how many processes in a row died while opening
//! <dir>/ruled-out      the generation of the cluster that went on without this store
//! <dir>/store.new/     a store that was never finished: nobody knows its id
//! ```

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use pgha_core::{Generation, StoreId};

use super::disk::{Change, Disk, DiskError};
use super::durable::{remove_dir, rename, sync_dir, sync_names_up, sync_tree};
use super::error::StoreError;
use super::image::{HEAD_KEY, Head, Image};
use super::rule_out;
use super::sled_disk::SledDisk;
use super::snapshot_file::{self, SnapshotFile};
use super::tip::Tip;
use super::told::ToldFile;
use super::verify;
use crate::clock;

const QUARANTINED: &str = ".quarantined-";
const LOCK_WAIT: Duration = Duration::from_secs(2);
const LOCK_RETRY: Duration = Duration::from_millis(50);
/// A database that aborts the process on a damaged file never gets as far as an error: after so many
/// deaths in a row the file counts as damaged.
const OPENING_DEATHS_MAX: u32 = 3;

/// What an opened store consists of.
pub(crate) struct Opened {
    pub lock: File,
    pub disk: Box<dyn Disk>,
    pub tip: Tip,
    pub told: ToldFile,
    pub image: Image,
    pub snapshot: Option<SnapshotFile>,
    pub store_dir: PathBuf,
}

/// Why a store does not open; decides whether it is moved aside.
enum Failure {
    Host(&'static str, io::Error),
    Damage(String),
    RuledOut(Generation),
}

/// Opens the store in `dir`, creating one where there never was any.
pub(crate) fn open(dir: &Path) -> Result<Opened, StoreError> {
    let host = |action, error: io::Error| StoreError::Host {
        dir: dir.to_owned(),
        action,
        reason: error.to_string(),
    };
    fs::create_dir_all(dir).map_err(|error| host("creating the directory", error))?;
    let lock = lock(dir)?;
    match open_locked(dir, lock) {
        Ok(opened) => Ok(opened),
        Err(Failure::Host(action, error)) => Err(host(action, error)),
        Err(Failure::Damage(found)) => Err(quarantine(dir, found)),
        Err(Failure::RuledOut(generation)) => match rule_out::set_aside(dir) {
            Ok(moved_to) => Err(StoreError::RuledOut {
                dir: dir.to_owned(),
                generation,
                moved_to,
            }),
            Err(error) => Err(host("moving a store aside that was ruled out", error)),
        },
    }
}

/// Where stores of this member were moved aside, oldest first.
pub(crate) fn quarantines(dir: &Path) -> Vec<PathBuf> {
    let numbers = quarantine_numbers(dir).into_iter();
    numbers.map(|number| quarantine_path(dir, number)).collect()
}

/// The numbers of those that are left: whoever removed one must not have removed all.
fn quarantine_numbers(dir: &Path) -> BTreeSet<u32> {
    let Some(name) = dir.file_name().and_then(|name| name.to_str()) else {
        return BTreeSet::new();
    };
    let above = dir.parent().filter(|above| !above.as_os_str().is_empty());
    let Ok(listed) = fs::read_dir(above.unwrap_or_else(|| Path::new("."))) else {
        // It may be searched and not listed.
        let numbers = 1..;
        return numbers
            .take_while(|number| quarantine_path(dir, *number).exists())
            .collect();
    };
    let number = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.ok()?.file_name();
        let number = entry.to_str()?.strip_prefix(name)?;
        number.strip_prefix(QUARANTINED)?.parse().ok()
    };
    listed.filter_map(number).collect()
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let host = |error: io::Error| StoreError::Host {
        dir: dir.to_owned(),
        action: "opening the lock file",
        reason: error.to_string(),
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(dir.join("lock"))
        .map_err(host)?;
    let deadline = clock::now() + LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(error)) => return Err(host(error)),
            // After a restart the old process may need a moment to be gone.
            Err(TryLockError::WouldBlock) if clock::now() < deadline => thread::sleep(LOCK_RETRY),
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked {
                    dir: dir.to_owned(),
                    holder: holder(&mut file),
                });
            }
        }
    }
    name_holder(&mut file).map_err(host)?;
    Ok(file)
}

fn name_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => format!("process {}", text.trim()),
        _ => "a process that left no name".to_owned(),
    }
}

fn open_locked(dir: &Path, lock: File) -> Result<Opened, Failure> {
    let at = |action| move |error| Failure::Host(action, error);
    if let Some(generation) = rule_out::mark(dir).map_err(at("looking for the file `ruled-out`"))? {
        return Err(Failure::RuledOut(generation));
    }
    let unfinished = dir.join("store.new");
    remove_dir(&unfinished).map_err(at("removing a store that was never finished"))?;
    let store_dir = dir.join("store");
    if !store_dir
        .try_exists()
        .map_err(at("looking for the store"))?
    {
        create(&unfinished)?;
        // A store that anybody was answered from must not be gone with a directory above it.
        sync_names_up(dir).map_err(at("syncing the directories above"))?;
        rename(&unfinished, &store_dir).map_err(at("putting a new store in place"))?;
    }

    // Nobody doubts a store because of it.
    let told = ToldFile::open(&store_dir.join("told")).map_err(at("opening the file `told`"))?;
    count_opening(&store_dir)?;
    let mut disk = open_disk(&store_dir.join("log"))?;
    let records = disk.read_all()?;
    let (tip, vouched) = Tip::open(&store_dir.join("tip"))
        .map_err(|error| Failure::Damage(format!("the file `tip` cannot be read: {error}")))?;
    snapshot_file::remove_unfinished(&store_dir)
        .map_err(at("removing a snapshot that was never finished"))?;
    let snapshot =
        snapshot_file::read(&store_dir).map_err(|error| Failure::Damage(error.to_string()))?;
    let reach = snapshot.as_ref().and_then(|found| found.meta.last_log_id);
    let image = verify::image(records, vouched, reach)
        .map_err(|doubt| Failure::Damage(doubt.to_string()))?;
    fs::remove_file(store_dir.join("opening")).map_err(at("removing the file `opening`"))?;
    // Back after a loss of power, it would count a death that was none.
    sync_dir(&store_dir).map_err(at("syncing the directory of the store"))?;
    Ok(Opened {
        lock,
        disk: Box::new(disk),
        tip,
        told,
        image,
        snapshot,
        store_dir,
    })
}

/// Builds a store aside: a crash half way leaves nothing that looks like a damaged one.
fn create(path: &Path) -> Result<(), Failure> {
    let at = |action| move |error| Failure::Host(action, error);
    let log = path.join("log");
    fs::create_dir_all(&log).map_err(at("creating a new store"))?;
    let head = Head::new(StoreId(format!("{:032x}", rand::random::<u128>())));
    let record = head
        .encode()
        .map_err(|error| Failure::Damage(error.to_string()))?;
    let mut disk = SledDisk::open(&log)?;
    disk.commit(vec![Change::Put(HEAD_KEY.to_vec(), record)])
        .map_err(at("writing a new store"))?;
    drop(disk);
    Tip::create(&path.join("tip"), head.sequence).map_err(at("writing the file `tip`"))?;
    // sled never syncs its own configuration, and without all of it nothing opens any more.
    sync_tree(path).map_err(at("syncing a new store"))
}

fn count_opening(store_dir: &Path) -> Result<(), Failure> {
    let path = store_dir.join("opening");
    let deaths = match fs::read_to_string(&path) {
        // What cannot be read was cut short by the last death.
        Ok(text) => text.trim().parse().unwrap_or(1),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(Failure::Host("reading the file `opening`", error)),
    };
    if deaths >= OPENING_DEATHS_MAX {
        return Err(Failure::Damage(format!(
            "{deaths} processes in a row died while opening it"
        )));
    }
    fs::write(&path, (deaths + 1).to_string())
        .map_err(|error| Failure::Host("writing the file `opening`", error))
}

fn open_disk(log: &Path) -> Result<SledDisk, Failure> {
    if !log.join("db").is_file() {
        // sled would create an empty one: the very thing that must never pass for this store.
        return Err(Failure::Damage(
            "the data file log/db is missing".to_owned(),
        ));
    }
    match SledDisk::open(log) {
        Err(DiskError::Damage(found)) => {
            let aside = SledDisk::set_index_aside(log)
                .map_err(|error| Failure::Host("setting a broken index aside", error))?;
            if !aside {
                return Err(Failure::Damage(found));
            }
            tracing::warn!(%found, "the database did not open; trying once without its index");
            Ok(SledDisk::open(log)?)
        }
        other => Ok(other?),
    }
}

/// Where the store in `dir` goes when it is moved aside now.
pub(super) fn quarantine_target(dir: &Path) -> PathBuf {
    let newest = quarantine_numbers(dir).last().copied().unwrap_or(0);
    quarantine_path(dir, newest.saturating_add(1))
}

fn quarantine(dir: &Path, found: String) -> StoreError {
    let target = quarantine_target(dir);
    match rename(dir, &target) {
        Ok(()) => StoreError::Quarantined {
            dir: dir.to_owned(),
            found,
            moved_to: target,
        },
        Err(error) => StoreError::QuarantineFailed {
            dir: dir.to_owned(),
            found,
            target,
            reason: error.to_string(),
        },
    }
}

fn quarantine_path(dir: &Path, number: u32) -> PathBuf {
    let mut path = dir.as_os_str().to_owned();
    path.push(format!("{QUARANTINED}{number}"));
    path.into()
}

impl From<DiskError> for Failure {
    fn from(error: DiskError) -> Self {
        match error {
            DiskError::Host(error) => Self::Host("opening the database", error),
            DiskError::Damage(found) => Self::Damage(found),
        }
    }
}
