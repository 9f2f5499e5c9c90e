//! Why an order is refused.

use std::path::PathBuf;

use pgha_core::{Epoch, Mono};
use serde::{Deserialize, Serialize};

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
