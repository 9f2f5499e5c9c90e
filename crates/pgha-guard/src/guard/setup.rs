//! What a guard does before it listens.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::unistd::{chdir, setsid};

use super::channel::Channel;
use super::options::Options;
use super::state::Guard;
use super::wake::Wake;
use crate::board::{BoardError, LeaseBoard};
use crate::message::Event;
use crate::soon::run_soon;
use crate::tree;

#[derive(Debug, thiserror::Error)]
pub(super) enum SetupError {
    #[error(transparent)]
    Board(#[from] BoardError),
    #[error("descriptor {fd} was not inherited: {error}; the guard is started by the sidecar")]
    Descriptor { fd: RawFd, error: nix::Error },
    #[error("{step}: {error}")]
    Step {
        step: &'static str,
        error: io::Error,
    },
}

pub(super) fn prepare(options: Options) -> Result<Guard, SetupError> {
    let at = |step| move |error| SetupError::Step { step, error };
    die_whole();
    let control = adopt(options.control_fd)?;
    let board = LeaseBoard::map(adopt(options.board_fd)?)?;
    // Already so where the sidecar did it: then it says EPERM, and all is well.
    let _ = setsid();
    // The guard shall keep no file system busy and never count as a process of the data directory.
    chdir("/").map_err(|error| at("changing to /")(error.into()))?;
    tree::become_subreaper().map_err(at("becoming a subreaper"))?;
    let wake = Wake::new().map_err(at("taking over the signals"))?;
    let control = Channel::new(UnixStream::from(control)).map_err(at("preparing the socket"))?;
    let memory_lock = lock_memory();
    // Where the kernel refuses, it is as before.
    let _ = run_soon();
    let mut guard = Guard::new(options, board, control, wake);
    guard.say(&Event::Ready {
        pid: std::process::id(),
        memory_lock,
    });
    Ok(guard)
}

/// A guard that panics must not unwind: dropping the lock's holder would unlock it while the tree
/// lives. Ending on the spot leaves the lock to those who inherited it.
fn die_whole() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        std::process::abort();
    }));
}

/// Takes an inherited descriptor over, and keeps it from the postmaster: one that had the control
/// socket would hide the guard's death from the sidecar.
#[allow(unsafe_code)]
fn adopt(fd: RawFd) -> Result<OwnedFd, SetupError> {
    // SAFETY: only borrowed for the call, which fails cleanly on a number that is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))
        .map_err(|error| SetupError::Descriptor { fd, error })?;
    // SAFETY: open, as just seen, left to us by the sidecar for this purpose, and adopted once.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Keeps the pages that the guard touches in memory, so that a host short of it does not make the
/// guard late. Where the limit (`RLIMIT_MEMLOCK`) is finite, pages to come are left out: under a
/// limit that is used up, the guard could not allocate at all.
fn lock_memory() -> Result<(), String> {
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    let mut flags = MlockAllFlags::MCL_CURRENT | on_fault;
    if getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(|(soft, _)| soft == RLIM_INFINITY) {
        flags |= MlockAllFlags::MCL_FUTURE;
    }
    mlockall(flags).map_err(|error| {
        format!("mlockall: {error}; raise the limit (systemd: LimitMEMLOCK=infinity)")
    })
}
