//! Starts the process.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Child;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::setsid;

use super::GuardOptions;
use crate::board::{BoardError, LeaseBoard};

/// The guard could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// No shared memory.
    #[error(transparent)]
    Board(#[from] BoardError),
    /// No process.
    #[error("the guard {} cannot be started: {error}", .program.display())]
    Process {
        /// The program.
        program: PathBuf,
        /// The operating system's error.
        error: io::Error,
    },
}

#[allow(unsafe_code)]
pub(super) fn start(
    options: &GuardOptions,
    control: UnixStream,
    board: &LeaseBoard,
) -> io::Result<Child> {
    let control = OwnedFd::from(control);
    let board = board.fd().try_clone_to_owned()?;
    let mut command = options.command(control.as_raw_fd(), board.as_raw_fd())?;
    let prepare = move || {
        setsid()?;
        // Only this child shall have them, not whatever else this process starts meanwhile.
        fcntl(&control, FcntlArg::F_SETFD(FdFlag::empty()))?;
        fcntl(&board, FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(())
    };
    // SAFETY: `prepare` makes three system calls, all of them async-signal-safe, and allocates
    // nothing, as it must between fork and exec of a process with threads.
    unsafe { command.pre_exec(prepare) }.spawn()
}
