//! How a postmaster is started, and signalled.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, getpid, getppid};

use super::state::Guard;
use crate::lock::GuardLock;
use crate::message::{PostmasterSignal, Start};
use crate::process;
use crate::soon::run_as_others;

/// Starts it with the lock inherited, by it and all its children: the lock is free again when the
/// last of them is gone, whatever happened to the guard.
#[allow(unsafe_code)]
pub(super) fn spawn(start: &Start, lock: &GuardLock) -> io::Result<u32> {
    let log = open_log(start)?;
    let mut command = Command::new(&start.program);
    command
        .args(&start.args)
        .env_clear()
        .envs(&start.env)
        .current_dir(&start.cwd);
    command
        .stdin(Stdio::null())
        .stderr(log.try_clone()?)
        .stdout(log);
    let lock = lock.as_fd().as_raw_fd();
    let guard = getpid();
    // SAFETY: the closure makes system calls only, all of them async-signal-safe; the guard has no
    // other thread that could hold a lock of the allocator. The lock's descriptor is open here:
    // the caller holds it until `spawn` below has returned, and fork copied it.
    unsafe {
        command.pre_exec(move || {
            let lock = BorrowedFd::borrow_raw(lock);
            fcntl(lock, FcntlArg::F_SETFD(FdFlag::empty()))?;
            follow(guard)
        });
    }
    Ok(command.spawn()?.id())
}

/// The last layer: the kernel kills the postmaster when the guard's only thread ends. (Not what it
/// started: prctl(2), `PR_SET_PDEATHSIG`, is not inherited by its children.)
fn follow(guard: Pid) -> io::Result<()> {
    unblock_signals()?;
    // PostgreSQL wants to get on, not to be early.
    let _ = run_as_others();
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != guard {
        // The guard died before the line above took effect.
        return Err(Errno::ESRCH.into());
    }
    Ok(())
}

/// The guard's mask is inherited, and no program expects its signals blocked.
pub(super) fn unblock_signals() -> io::Result<()> {
    Ok(SigSet::empty().thread_set_mask()?)
}

/// Nobody else takes care of it: at a start a longer one is put aside, over the one before it.
const LOG_BYTES_MAX: u64 = 64 << 20;

fn open_log(start: &Start) -> io::Result<File> {
    let length = fs::metadata(&start.log_path).map_or(0, |metadata| metadata.len());
    if length > LOG_BYTES_MAX {
        // A log that stays is none less for it.
        let _ = fs::rename(&start.log_path, start.log_path.with_extension("log.old"));
    }
    let mut options = OpenOptions::new();
    let opened = options
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&start.log_path);
    opened.map_err(|error| {
        let words = format!("its log {}: {error}", start.log_path.display());
        io::Error::new(error.kind(), words)
    })
}

impl Guard {
    /// A postmaster that is just gone is noticed by its end, not here.
    pub(super) fn signal_postmaster(&mut self, signal: PostmasterSignal) {
        let signal = match signal {
            PostmasterSignal::Fast => Signal::SIGINT,
            PostmasterSignal::Immediate => Signal::SIGQUIT,
            PostmasterSignal::Reload => Signal::SIGHUP,
            PostmasterSignal::Smart => Signal::SIGTERM,
        };
        if let Some(pid) = self.postmaster {
            let _ = kill(process::raw(pid), signal);
        }
    }
}
