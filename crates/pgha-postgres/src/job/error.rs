//! Why a job failed, split by what to do next.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::QuoteError;
use crate::files::FileError;
use crate::marker::{JobKind, LeftoverError, MarkerError};
use crate::signal_files::SignalFileError;
use crate::swap::SwapError;

/// A job did not reach its goal. Whether the data directory may still be used is told by the
/// marker: it was taken down again where nothing had been changed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The program did not start.
    #[error("cannot run {}: {source}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Somebody cancelled it.
    #[error("{kind} was cancelled")]
    Cancelled {
        /// The job.
        kind: JobKind,
    },
    /// It made no progress.
    #[error("{kind} made no progress for {limit:?} and was ended; last words: {tail}")]
    Stalled {
        /// The job.
        kind: JobKind,
        /// How long it was waited.
        limit: Duration,
        /// Its last output.
        tail: String,
    },
    /// No space. Another source would not help.
    #[error(
        "{kind} ran out of disk space; free some (directories moved aside end in .aside-N) or \
         enlarge the disk: {tail}"
    )]
    DiskFull {
        /// The job.
        kind: JobKind,
        /// Its last output.
        tail: String,
    },
    /// The source refused, is away or went away. Another source, or the same later, may do.
    #[error("{kind}: the source could not be reached or ended the connection: {tail}")]
    Source {
        /// The job.
        kind: JobKind,
        /// Its last output.
        tail: String,
    },
    /// The directory cannot be rewound: clone it.
    #[error("rewind is not possible ({reason}): a clone is needed")]
    NotRewindable {
        /// Why not.
        reason: String,
    },
    /// Anything else the program said.
    #[error("{kind} failed ({status}): {tail}")]
    Failed {
        /// The job.
        kind: JobKind,
        /// How it ended.
        status: String,
        /// Its last output.
        tail: String,
    },
    /// Its task ended before its time.
    #[error("{kind} broke off: {reason}")]
    Broken {
        /// The job.
        kind: JobKind,
        /// Why.
        reason: String,
    },
    /// A process of an earlier sidecar is still at it.
    #[error(transparent)]
    Leftover(#[from] LeftoverError),
    /// The marker could not be put up or taken down.
    #[error(transparent)]
    Marker(#[from] MarkerError),
    /// A file could not be worked on.
    #[error(transparent)]
    File(#[from] FileError),
    /// The directories could not be exchanged.
    #[error(transparent)]
    Swap(#[from] SwapError),
    /// The signal file could not be written.
    #[error(transparent)]
    Signal(#[from] SignalFileError),
    /// An option does not fit.
    #[error(transparent)]
    Quote(#[from] QuoteError),
}

const DISK_FULL: [&str; 2] = ["No space left on device", "Disk quota exceeded"];

/// What libpq and the programs say of a source that is away, refuses or leaves.
const SOURCE: [&str; 12] = [
    "could not connect to server",
    "connection to server",
    // A server of version 13 that refuses is not named.
    "error: FATAL:",
    "server closed the connection",
    "could not receive data",
    "could not read COPY data",
    "could not send replication command",
    "could not initiate base backup",
    "terminating connection",
    "the database system is",
    "replication slot",
    "lost connection",
];

/// Judges by the last words of a program that failed. Runs under `LC_ALL=C`.
pub(crate) fn classify(kind: JobKind, status: String, tail: String) -> JobError {
    let says = |words: &[&str]| words.iter().any(|word| tail.contains(word));
    if says(&DISK_FULL) {
        JobError::DiskFull { kind, tail }
    } else if says(&SOURCE) {
        JobError::Source { kind, tail }
    } else {
        JobError::Failed { kind, status, tail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_disk_from_the_source() {
        let judge = |tail: &str| classify(JobKind::Clone, "exit status: 1".into(), tail.into());
        let full = "pg_basebackup: error: could not write to file \"x\": No space left on device";
        assert!(matches!(judge(full), JobError::DiskFull { .. }));
        let away = "pg_basebackup: error: connection to server at \"127.0.0.1\", port 1 failed";
        assert!(matches!(judge(away), JobError::Source { .. }));
        let refused = "pg_basebackup: error: FATAL:  password authentication failed";
        assert!(matches!(judge(refused), JobError::Source { .. }));
        let own = "2026-11-22 [7] FATAL:  could not access the status of transaction 0";
        assert!(matches!(judge(own), JobError::Failed { .. }));
        assert!(matches!(judge("something else"), JobError::Failed { .. }));
    }
}
