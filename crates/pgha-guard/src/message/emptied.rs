//! The report that a tree is empty, and why it was emptied.

use std::fmt;

use pgha_core::{Epoch, Mono};
use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// The tree is empty: the guard has no child and no descendant left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmptyReport {
    /// The epoch of the tree: as primary, or adopted where it was a standby's.
    pub epoch: Epoch,
    /// The epoch's secret where the tree was the primary's. With it the sidecar releases the epoch
    /// and answers [`Ack`](super::Order::Ack) at once, else the guard runs the release program.
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
