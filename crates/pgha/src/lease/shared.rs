//! What threads tell each other without waiting.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Mutex, PoisonError};

use pgha_core::{Epoch, Mono};
use pgha_guard::{LeaseBoard, clock};

use crate::metrics::RenewalTimes;

/// What the holder's thread shares with the agent.
pub(crate) struct HolderShared {
    /// The primary's flush position, for the grantors to remember.
    pub(crate) flush_lsn: AtomicU64,
    /// When the agent's loop last ran, in nanoseconds of the clock.
    pub(crate) agent_stamp: AtomicU64,
    /// PostgreSQL was declared hung.
    pub(crate) hung: AtomicBool,
    /// The epoch for which the agent has opened the gate; 0: none.
    pub(crate) open_epoch: AtomicU64,
    /// The guard's board; replaced with the guard.
    pub(crate) board: Mutex<Option<LeaseBoard>>,
    /// How long renewals take.
    pub(crate) times: RenewalTimes,
}

impl HolderShared {
    pub(crate) fn new() -> Self {
        Self {
            flush_lsn: AtomicU64::new(0),
            agent_stamp: AtomicU64::new(clock::now().as_nanos()),
            hung: AtomicBool::new(false),
            open_epoch: AtomicU64::new(0),
            board: Mutex::new(None),
            times: RenewalTimes::default(),
        }
    }

    pub(super) fn set_board_deadline(&self, epoch: Epoch, kill_at: Mono) {
        let board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(board) = board.as_ref() {
            board.set_deadline(epoch, kill_at);
        }
    }
}
