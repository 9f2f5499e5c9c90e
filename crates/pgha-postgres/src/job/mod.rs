//! Slow work on the data directory: clone and rewind, each one tracked job under the marker of P8.

mod clone;
mod error;
mod output;
mod process;
mod rewind;

use std::time::Duration;

use pgha_core::{Lsn, TimelineId};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use clone::{CloneOptions, clone};
pub use error::JobError;
pub(crate) use process::{Run, run};
pub use rewind::{RewindOptions, rewind};

use crate::JobKind;

/// How long a process of an earlier sidecar may take to die after SIGKILL.
pub(crate) const LEFTOVER_LIMIT: Duration = Duration::from_secs(5);

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes copied.
    pub done_bytes: u64,
    /// Bytes to copy in all; an estimate, zero while unknown.
    pub total_bytes: u64,
}

/// What a finished job did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobOutcome {
    /// The data directory is a new copy; what was there before was moved here, or deleted.
    Cloned {
        /// The displaced directory.
        aside: Option<std::path::PathBuf>,
    },
    /// The data directory was rewound.
    Rewound {
        /// Where it had left the source's line, and on which timeline.
        diverged: Option<(Lsn, TimelineId)>,
    },
    /// The data directory already was on the source's line: by its number. Twins are on the same
    /// number; compare fork ids before believing it.
    RewindNotNeeded,
}

/// A running job. Dropping it cancels it.
#[derive(Debug)]
pub struct Job {
    kind: JobKind,
    progress: watch::Receiver<Progress>,
    cancel: CancellationToken,
    task: JoinHandle<Result<JobOutcome, JobError>>,
}

impl Job {
    fn spawn<F>(
        kind: JobKind,
        work: impl FnOnce(watch::Sender<Progress>, CancellationToken) -> F,
    ) -> Self
    where
        F: Future<Output = Result<JobOutcome, JobError>> + Send + 'static,
    {
        let (sender, progress) = watch::channel(Progress::default());
        let cancel = CancellationToken::new();
        let task = tokio::spawn(work(sender, cancel.clone()));
        Self {
            kind,
            progress,
            cancel,
            task,
        }
    }

    /// What it does.
    pub const fn kind(&self) -> JobKind {
        self.kind
    }

    /// Its progress, to look at or to wait on.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Whether it came to its end, good or bad.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Kills the work. `wait` tells when it is gone.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Waits for the end. May be dropped and called again until it has answered. Each job has its
    /// own limits: no progress for `stall_limit` ends it.
    pub async fn wait(&mut self) -> Result<JobOutcome, JobError> {
        match (&mut self.task).await {
            Ok(outcome) => outcome,
            Err(error) => Err(JobError::Broken {
                kind: self.kind,
                reason: error.to_string(),
            }),
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}
