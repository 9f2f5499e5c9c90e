//! What sidecar and guard say to each other: orders one way, events the other.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use pgha_core::{Epoch, Mono};
use serde::{Deserialize, Serialize};

use crate::release::ReleaseRoute;
use crate::secret::Secret;

/// What the sidecar orders. An order below the highest epoch the guard has seen is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The running standby is about to be promoted for this epoch, or the running primary goes on
    /// under it. To be answered with [`Event::Assumed`] before the promotion is ordered: only
    /// from then on does the board's deadline apply.
    Assume {
        /// The epoch, which the board's deadline must be for.
        epoch: Epoch,
        /// The epoch's secret.
        secret: Secret,
        /// Where the release goes.
        route: ReleaseRoute,
    },
    /// The sidecar has the secret of this epoch and takes its release over.
    Ack {
        /// As in [`EmptyReport`].
        epoch: Epoch,
    },
    /// Kill everything now.
    Empty {
        /// The epoch that the sidecar acts for.
        epoch: Epoch,
    },
    /// Leave, once the tree is empty and its epoch released.
    Quit,
    /// The members changed: where the release of the current epoch goes from now on.
    Route {
        /// The current epoch.
        epoch: Epoch,
        /// Where the release goes.
        route: ReleaseRoute,
    },
    /// A signal for the postmaster.
    Signal {
        /// The epoch that the sidecar acts for.
        epoch: Epoch,
        /// Which one.
        signal: PostmasterSignal,
    },
    /// The promotion that an `Assume` announced was never ordered: the tree is a standby's again
    /// and no deadline applies. The epoch's secret is dropped, so the epoch ends by time alone.
    StandDown {
        /// The epoch that was assumed.
        epoch: Epoch,
    },
    /// Start a postmaster.
    Start(Start),
}

impl Order {
    /// The order's name, as [`Event::Refused`] gives it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ack { .. } => "ack",
            Self::Assume { .. } => "assume",
            Self::Empty { .. } => "empty",
            Self::Quit => "quit",
            Self::Route { .. } => "route",
            Self::Signal { .. } => "signal",
            Self::StandDown { .. } => "stand_down",
            Self::Start(_) => "start",
        }
    }
}

/// How to start a postmaster. Paths are absolute: the guard works from the root directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The `postgres` program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment: nothing of the guard's own is passed on.
    pub env: BTreeMap<String, String>,
    /// Its working directory.
    pub cwd: PathBuf,
    /// Where standard output and error are appended to; made with mode 0600.
    pub log_path: PathBuf,
    /// What it starts as.
    pub role: StartRole,
}

/// What a postmaster starts as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartRole {
    /// The primary of an epoch, under the deadline that the board gives for it.
    Primary {
        /// The epoch; each start as primary has its own.
        epoch: Epoch,
        /// The epoch's secret.
        secret: Secret,
        /// Where the release goes.
        route: ReleaseRoute,
    },
    /// A standby, which needs no lease.
    Standby {
        /// The epoch that the member has adopted.
        epoch: Epoch,
    },
}

impl StartRole {
    /// The role's epoch.
    pub const fn epoch(&self) -> Epoch {
        match self {
            Self::Primary { epoch, .. } | Self::Standby { epoch } => *epoch,
        }
    }
}

/// A signal that the postmaster understands (PostgreSQL manual, 19.5 "Shutting Down the Server").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PostmasterSignal {
    /// SIGINT: sessions are ended, then a checkpoint.
    Fast,
    /// SIGQUIT: no checkpoint; crash recovery at the next start.
    Immediate,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGTERM: waits for the sessions to end by themselves.
    Smart,
}

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

/// The tree is empty: the guard has no child and no descendant left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmptyReport {
    /// The epoch of the tree: as primary, or adopted where it was a standby's.
    pub epoch: Epoch,
    /// The epoch's secret where the tree was the primary's. With it the sidecar releases the epoch
    /// and answers [`Order::Ack`] at once, else the guard runs the release program.
    pub secret: Option<Secret>,
    /// Why the tree was emptied.
    pub cause: EmptyCause,
    /// When the cause was seen.
    pub seen_at: Mono,
    /// From then until SIGKILL had been sent to every process of the tree.
    pub seen_to_fenced_us: u64,
    /// From then until no process was left.
    pub seen_to_empty_us: u64,
}

/// Why a tree was emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmptyCause {
    /// The board's deadline passed.
    Deadline,
    /// The sidecar ordered it.
    Ordered,
    /// The postmaster ended, by itself, by a signal or by an ordered stop.
    PostmasterExited,
    /// Another sidecar took over, and PostgreSQL did not stop in the time it gave.
    Retired,
    /// The sidecar of a primary died.
    SidecarGone,
}

impl EmptyCause {
    /// The cause's word in releases, the journal and `history`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Ordered => "ordered",
            Self::PostmasterExited => "postmaster_exited",
            Self::Retired => "retired",
            Self::SidecarGone => "sidecar_gone",
        }
    }
}

impl fmt::Display for EmptyCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
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

/// Why an order is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// A tree is there already.
    #[error("a postmaster of epoch {epoch} is there already; wait for its Empty")]
    AlreadyRunning {
        /// Its epoch.
        epoch: Epoch,
    },
    /// The guard's files could not be made.
    #[error("{0}")]
    Files(String),
    /// The guard has been told to leave.
    #[error("the guard is leaving; start another one")]
    Leaving,
    /// The board says nothing about the epoch, or its deadline has passed.
    #[error(
        "no lease for epoch {epoch}: the board holds epoch {board_epoch} until {board_kill_at:?}, \
         it is {now:?}; renew the lease first"
    )]
    LeaseNotHeld {
        /// The order's epoch.
        epoch: Epoch,
        /// The board's epoch.
        board_epoch: Epoch,
        /// The board's deadline.
        board_kill_at: Mono,
        /// When the guard looked.
        now: Mono,
    },
    /// The lock beside the data directory is taken.
    #[error("{0}")]
    Locked(String),
    /// No postmaster runs.
    #[error("no postmaster runs")]
    NotRunning,
    /// The tree is not the primary's of that epoch.
    #[error("no tree of a primary of epoch {epoch}")]
    NotThatPrimary {
        /// The order's epoch.
        epoch: Epoch,
    },
    /// The program could not be started.
    #[error("{program} cannot be started: {error}")]
    Spawn {
        /// The program.
        program: PathBuf,
        /// The operating system's words.
        error: String,
    },
    /// The order is of the past.
    #[error("epoch {epoch} is over, epoch {seen} has been seen")]
    Stale {
        /// The order's epoch.
        epoch: Epoch,
        /// The highest epoch that any order carried.
        seen: Epoch,
    },
    /// The guard cannot leave yet.
    #[error("the tree is not empty; order Empty and wait")]
    TreeNotEmpty,
    /// A tree of this epoch has ended: each start as primary needs an epoch of its own.
    #[error("epoch {epoch} has ended here; a primary needs an epoch of its own at each start")]
    Used {
        /// The order's epoch.
        epoch: Epoch,
    },
}
