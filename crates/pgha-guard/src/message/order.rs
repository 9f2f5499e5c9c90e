//! What the sidecar orders.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pgha_core::Epoch;
use serde::{Deserialize, Serialize};

use crate::release::ReleaseRoute;
use crate::secret::Secret;

/// What the sidecar orders. An order below the highest epoch the guard has seen is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The running standby is about to be promoted for this epoch, or the running primary goes on
    /// under it. To be answered with [`Assumed`](super::Event::Assumed) before the promotion is ordered: only
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
        /// As in [`EmptyReport`](super::EmptyReport).
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
    /// The order's name, as [`Refused`](super::Event::Refused) gives it.
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
