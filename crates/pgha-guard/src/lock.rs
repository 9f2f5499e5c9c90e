//! The lock beside a data directory: held from before the first start until the tree is empty.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use pgha_core::Mono;

use crate::clock;

const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// The lock, held.
///
/// The guard lets the postmaster inherit it, and so does every process the postmaster starts: the
/// kernel gives it to nobody else before the last process of the tree is gone, even where the guard
/// was killed. Having it therefore proves an empty tree.
#[derive(Debug)]
pub struct GuardLock {
    lock: Flock<File>,
    path: PathBuf,
}

/// The lock could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody has it.
    #[error(
        "{} is held by a guard or by what is left of its PostgreSQL; \
         take it over or empty the tree first", .0.display()
    )]
    Held(PathBuf),
    /// The file cannot be opened or locked at all.
    #[error("{} cannot be locked: {error}; check that its directory exists and is ours", .path.display())]
    Io {
        /// The lock's path.
        path: PathBuf,
        /// The operating system's error.
        error: io::Error,
    },
}

/// Where the lock of a data directory is by default: beside it, and with its name, as its neighbour
/// may be another member's.
pub fn lock_path_beside(data_dir: &Path) -> PathBuf {
    let mut name = data_dir.file_name().unwrap_or_default().to_owned();
    name.push(".guard.lock");
    // Not the path with the word behind it: after a slash at its end that would lie inside.
    data_dir.with_file_name(name)
}

/// Waits until the lock is free and takes it; [`LockError::Held`] at the deadline.
pub fn wait_for_lock(path: &Path, deadline: Mono) -> Result<GuardLock, LockError> {
    loop {
        match GuardLock::try_take(path) {
            Err(LockError::Held(_)) if clock::now() < deadline => {
                // flock(2) has no deadline of its own, and a blocked thread could not be recalled.
                let left = deadline.since(clock::now());
                std::thread::sleep(RETRY_INTERVAL.min(left));
            }
            result => return result,
        }
    }
}

impl GuardLock {
    /// Takes the lock if it is free.
    pub fn try_take(path: &Path) -> Result<Self, LockError> {
        let failed = |error| LockError::Io {
            path: path.to_owned(),
            error,
        };
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).map_err(failed)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self {
                lock,
                path: path.to_owned(),
            }),
            Err((_, Errno::EWOULDBLOCK)) => Err(LockError::Held(path.to_owned())),
            Err((_, error)) => Err(failed(error.into())),
        }
    }

    /// The lock's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for GuardLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_waited_for_until_the_deadline() {
        let dir = tempfile::tempdir().expect("made");
        let path = lock_path_beside(&dir.path().join("postgres"));
        assert_eq!(path, dir.path().join("postgres.guard.lock"));
        let held = GuardLock::try_take(&path).expect("free");
        let deadline = clock::now() + Duration::from_millis(50);
        let refused = wait_for_lock(&path, deadline);
        assert!(matches!(refused, Err(LockError::Held(_))), "{refused:?}");
        assert!(clock::now() >= deadline);
        drop(held);
        wait_for_lock(&path, clock::now()).expect("free again");
    }

    #[test]
    fn says_what_is_missing() {
        let refused = GuardLock::try_take(Path::new("/nonexistent/guard.lock"));
        let words = refused.expect_err("no such directory").to_string();
        assert!(words.contains("/nonexistent/guard.lock"), "{words}");
    }
}
