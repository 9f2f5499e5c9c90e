//! What the guard reports.

use pgha_core::{Epoch, Mono};
use serde::{Deserialize, Serialize};

use super::{EmptyReport, Refusal};

/// What the guard reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The running tree is the primary's of this epoch from now on.
    Assumed {
        /// As ordered.
        epoch: Epoch,
    },
    /// Nothing of the tree is left.
    Empty(EmptyReport),
    /// The guard itself is gone. Said by [`crate::GuardHandle`], as the last event.
    GuardGone {
        /// How it ended, in words.
        status: String,
    },
    /// The postmaster is gone; what it left behind is being killed.
    PostmasterExited {
        /// The postmaster.
        pid: u32,
        /// How it ended.
        status: PostmasterStatus,
        /// When the guard saw it.
        at: Mono,
    },
    /// The guard listens to orders.
    Ready {
        /// The guard.
        pid: u32,
        /// Whether its pages stay in memory; where not, why.
        memory_lock: Result<(), String>,
    },
    /// An order was not carried out.
    Refused {
        /// The order's name.
        order: String,
        /// Why not.
        why: Refusal,
    },
    /// The release program, run because no sidecar took the release over, has ended.
    ReleaseFinished {
        /// The released epoch.
        epoch: Epoch,
        /// What became of it.
        outcome: ReleaseOutcome,
    },
    /// A postmaster runs.
    Started {
        /// The postmaster.
        pid: u32,
        /// As ordered.
        epoch: Epoch,
        /// Whether it runs under a deadline.
        primary: bool,
    },
    /// The tree is a standby's again.
    StoodDown {
        /// The epoch that was assumed.
        epoch: Epoch,
    },
    /// Processes have outlived SIGKILL so far, as those in uninterruptible sleep do. The epoch is
    /// not released while this lasts.
    Stuck {
        /// Since the emptying began.
        since_us: u64,
        /// Who is left.
        processes: Vec<StuckProcess>,
    },
}

/// How a postmaster ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PostmasterStatus {
    /// By itself, with this exit code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

/// What became of a release program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseOutcome {
    /// It reported failure, or died.
    Failed(String),
    /// It reported success.
    Sent,
    /// It was killed at its deadline.
    TimedOut,
}

/// A process that outlives SIGKILL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StuckProcess {
    /// Its process id.
    pub pid: u32,
    /// Its program's name.
    pub name: String,
    /// Its state as in `/proc/PID/stat`: `D` is uninterruptible sleep, mostly stuck storage.
    pub state: char,
}
