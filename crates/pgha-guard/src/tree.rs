//! What is left of a process tree whose guard is gone: found by `/proc`, killed, proven empty.

mod find;

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, io};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::wait::{WaitPidFlag, waitpid};
use pgha_core::Mono;

use crate::lock::{GuardLock, LockError};
use crate::pidfd::PidFd;
use crate::{clock, process};

/// A round of kills is looked at again after this long, whoever is still alive then.
const ROUND: Duration = Duration::from_millis(100);
/// Without a lock to prove it, so many looks in a row must find nobody.
const CLEAN_LOOKS: u32 = 2;

/// Which processes are meant.
#[derive(Clone, Debug)]
pub struct Scope {
    data_dir: PathBuf,
    lock_path: Option<PathBuf>,
    root: Option<u32>,
    spared: BTreeSet<u32>,
}

/// A process of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its process id.
    pub pid: u32,
    /// Its program's name.
    pub name: String,
    /// Its state as in `/proc/PID/stat`.
    pub state: char,
}

/// That no process of the tree was left. Only [`empty`] makes one.
#[derive(Debug)]
#[non_exhaustive]
pub struct EmptyProof {
    /// How many processes had to be killed.
    pub killed: usize,
    /// When the tree was found empty.
    pub at: Mono,
    /// From the first look until then.
    pub took: Duration,
    /// Where the scope has one, the lock, now ours. To be dropped before the next guard's start.
    pub lock: Option<GuardLock>,
}

/// The tree could not be proven empty.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The lock cannot be used.
    #[error(transparent)]
    Lock(LockError),
    /// Processes outlived SIGKILL until the deadline.
    #[error("{} processes of {} outlive SIGKILL: {}; state D is stuck storage",
        .left.len(), .data_dir.display(), Listed(.left))]
    NotEmpty {
        /// The data directory.
        data_dir: PathBuf,
        /// Who is left; none where only the lock is still held.
        left: Vec<Member>,
    },
    /// The processes cannot be listed.
    #[error("the processes of {} cannot be listed: {error}; is /proc mounted?", .data_dir.display())]
    Proc {
        /// The data directory.
        data_dir: PathBuf,
        /// The operating system's error.
        error: io::Error,
    },
}

struct Listed<'a>(&'a [Member]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nobody is seen, but the lock is held");
        }
        for (index, member) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(
                f,
                "{comma}{} {} ({})",
                member.pid, member.name, member.state
            )?;
        }
        Ok(())
    }
}

impl Scope {
    /// The processes of PostgreSQL whose working directory is `data_dir`, as every one's is.
    pub fn of(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            lock_path: None,
            root: None,
            spared: BTreeSet::new(),
        }
    }

    /// And whoever has the guard's lock open, which the whole tree inherits: also a shell of an
    /// `archive_command` that went elsewhere, and the guard itself.
    pub fn locked_by(mut self, lock_path: &Path) -> Self {
        self.lock_path = Some(lock_path.to_owned());
        self
    }

    /// And whoever descends from this process, itself not included.
    pub fn under(mut self, root: u32) -> Self {
        self.root = Some(root);
        self
    }

    /// But never this process, which has a reason to have the lock's file open.
    pub fn sparing(mut self, pid: u32) -> Self {
        self.spared.insert(pid);
        self
    }
}

/// Makes this process the new parent of orphans below it (prctl(2), `PR_SET_CHILD_SUBREAPER`): when
/// a guard dies its backends come to the sidecar instead of to the host's first process.
pub fn become_subreaper() -> io::Result<()> {
    Ok(prctl::set_child_subreaper(true)?)
}

/// Notices the end of every child that this process has now, whenever that is. A sidecar that started
/// itself anew is still the parent of what it started before, its old guard above all, and nobody else
/// would: to be called before this one starts anything.
pub fn reap_inherited() -> io::Result<()> {
    for child in process::children(std::process::id())? {
        let wait = move || {
            // A child that somebody else has noticed meanwhile is noticed.
            let _ = waitpid(process::raw(child), None);
        };
        let thread = std::thread::Builder::new().name("reaper".to_owned());
        thread.spawn(wait)?;
    }
    Ok(())
}

/// The living processes of the tree; this process is never one.
pub fn find(scope: &Scope) -> Result<Vec<Member>, TreeError> {
    find::members(scope).map_err(|error| TreeError::Proc {
        data_dir: scope.data_dir.clone(),
        error,
    })
}

/// Kills the tree until nobody is left, and proves it: by the lock where the scope has one, else by
/// looking twice. Reaps those that were, or had become, children of this process.
pub fn empty(scope: &Scope, deadline: Mono) -> Result<EmptyProof, TreeError> {
    let began = clock::now();
    let mut killed = BTreeSet::new();
    let mut clean_looks = 0;
    loop {
        let members = find(scope)?;
        if members.is_empty() {
            clean_looks += 1;
            if find::reap_adopted()
                && let Some(lock) = prove(scope, clean_looks)?
            {
                let at = clock::now();
                return Ok(EmptyProof {
                    killed: killed.len(),
                    at,
                    took: at.since(began),
                    lock,
                });
            }
        } else {
            clean_looks = 0;
        }
        if clock::now() >= deadline {
            return Err(TreeError::NotEmpty {
                data_dir: scope.data_dir.clone(),
                left: members,
            });
        }
        killed.extend(members.iter().map(|member| member.pid));
        kill_round(scope, &members, deadline);
    }
}

/// Some, with the lock if there is one to have, once the tree is proven empty.
fn prove(scope: &Scope, clean_looks: u32) -> Result<Option<Option<GuardLock>>, TreeError> {
    let Some(path) = &scope.lock_path else {
        return Ok((clean_looks >= CLEAN_LOOKS).then_some(None));
    };
    match GuardLock::try_take(path) {
        Ok(lock) => Ok(Some(Some(lock))),
        Err(LockError::Held(_)) => Ok(None),
        Err(error @ LockError::Io { .. }) => Err(TreeError::Lock(error)),
    }
}

/// Kills the members and waits until all of them, or the round's time, are gone.
fn kill_round(scope: &Scope, members: &[Member], deadline: Mono) {
    let mut dying = Vec::new();
    for member in members {
        // Held first and looked at again then: the number may have passed to a stranger.
        let Ok(held) = PidFd::open(member.pid) else {
            continue;
        };
        if find::is_member(scope, member.pid) && held.kill().is_ok() {
            dying.push((member.pid, held));
        }
    }
    let until = deadline.min(clock::now() + ROUND);
    wait_for_ends(&mut dying, until);
}

fn wait_for_ends(dying: &mut Vec<(u32, PidFd)>, until: Mono) {
    loop {
        let left = until.since(clock::now());
        // At least a millisecond also with nobody to wait for, so that the next look finds news.
        let timeout = u16::try_from(left.as_millis().clamp(1, 1000)).unwrap_or(1);
        let timeout = if dying.is_empty() { 1 } else { timeout };
        let mut ends: Vec<PollFd<'_>> = dying
            .iter()
            .map(|(_, held)| PollFd::new(held.as_fd(), PollFlags::POLLIN))
            .collect();
        // An interrupted wait is one that ended early: the caller looks again.
        let _ = poll(&mut ends, PollTimeout::from(timeout));
        let ended: Vec<bool> = ends.iter().map(|end| end.any() == Some(true)).collect();
        let mut ended = ended.into_iter();
        dying.retain(|(pid, _)| {
            let gone = ended.next().unwrap_or(false);
            if gone {
                // Ours to notice only where the process was, or became, our child.
                let _ = waitpid(process::raw(*pid), Some(WaitPidFlag::WNOHANG));
            }
            !gone
        });
        if dying.is_empty() || clock::now() >= until {
            return;
        }
    }
}
