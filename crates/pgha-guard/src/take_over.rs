//! How a new sidecar gets rid of what an old one left behind.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::unistd::geteuid;
use pgha_core::Mono;

use crate::door::{self, Retire};
use crate::tree::{self, EmptyProof, Scope, TreeError};
use crate::{clock, frame};

/// What to take over, and how patiently.
#[derive(Clone, Debug)]
pub struct TakeOver {
    /// The directory with the old guard's socket.
    pub run_dir: PathBuf,
    /// Whose leftovers are killed.
    pub scope: Scope,
    /// How the old guard stops its PostgreSQL.
    pub retire: Retire,
    /// How long the killing of leftovers may take.
    pub empty_within: Duration,
}

/// What became of the old guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetireOutcome {
    /// It stopped PostgreSQL and is gone.
    Gone,
    /// There was none.
    NoGuard,
}

/// The old guard did not leave.
#[derive(Debug, thiserror::Error)]
pub enum RetireError {
    /// Its socket belongs to another user.
    #[error("{} belongs to user {uid}, who is not ours; remove it", .path.display())]
    Foreign {
        /// The socket.
        path: PathBuf,
        /// Its owner.
        uid: u32,
    },
    /// Its socket cannot be used.
    #[error("{} cannot be used: {error}", .path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// The operating system's error.
        error: io::Error,
    },
    /// It was still there at the deadline.
    #[error("the guard behind {} is still there; it is killed next", .path.display())]
    TimedOut {
        /// The socket.
        path: PathBuf,
    },
}

/// A data directory without any process, and how it came to that.
#[derive(Debug)]
#[non_exhaustive]
pub struct TakenOver {
    /// What became of the old guard; one that did not retire was killed.
    pub retired: Result<RetireOutcome, RetireError>,
    /// That nothing is left. Holds the guard's lock: to be dropped before the next guard's first
    /// start.
    pub proof: EmptyProof,
}

/// Retires the old guard if there is one, kills it if it does not leave, empties whatever is left,
/// and returns the proof. To be called before anything else is done to the data directory.
pub fn take_over(order: &TakeOver) -> Result<TakenOver, TreeError> {
    // However retiring fails, the guard has the lock open: it is among what is killed next.
    let retired = retire(&order.run_dir, order.retire);
    let proof = tree::empty(&order.scope, clock::now() + order.empty_within)?;
    Ok(TakenOver { retired, proof })
}

/// Asks the guard behind `run_dir` to stop its PostgreSQL and leave, and waits until it is gone.
pub fn retire(run_dir: &Path, order: Retire) -> Result<RetireOutcome, RetireError> {
    // The guard kills its tree after `fast` and `immediate`; the rest is for its release.
    const RELEASE: Duration = Duration::from_secs(7);
    let path = door::path(run_dir);
    let failed = |error| RetireError::Io {
        path: path.clone(),
        error,
    };
    let stream = match UnixStream::connect(&path) {
        Ok(stream) => stream,
        Err(error) if is_nobody(&error) => return Ok(RetireOutcome::NoGuard),
        Err(error) => return Err(failed(error)),
    };
    let peer = getsockopt(&stream, PeerCredentials).map_err(|error| failed(error.into()))?;
    if peer.uid() != geteuid().as_raw() && peer.uid() != 0 {
        return Err(RetireError::Foreign {
            path,
            uid: peer.uid(),
        });
    }
    let deadline = clock::now() + order.fast + order.immediate + RELEASE;
    ask(&stream, order).map_err(failed)?;
    await_end(stream, deadline, &path)
}

fn is_nobody(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound};
    matches!(error.kind(), NotFound | ConnectionRefused)
}

fn ask(mut stream: &UnixStream, order: Retire) -> io::Result<()> {
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(&frame::encode(&order)?)
}

/// The guard closes the connection by leaving.
fn await_end(
    mut stream: UnixStream,
    deadline: Mono,
    path: &Path,
) -> Result<RetireOutcome, RetireError> {
    let failed = |error| RetireError::Io {
        path: path.to_owned(),
        error,
    };
    loop {
        let left = deadline.since(clock::now());
        if left.is_zero() {
            return Err(RetireError::TimedOut {
                path: path.to_owned(),
            });
        }
        stream.set_read_timeout(Some(left)).map_err(failed)?;
        match stream.read(&mut [0; 16]) {
            Ok(0) => return Ok(RetireOutcome::Gone),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                return Ok(RetireOutcome::Gone);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
}
