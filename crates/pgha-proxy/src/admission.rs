//! Whether this member's own replica may serve reads.

use std::sync::{Arc, PoisonError, RwLock};

use pgha_core::Epoch;
use tokio::sync::Notify;

use crate::clock::BootClock;
use crate::gate::{Cell, Pass};

/// An order for an epoch below one that was already obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read admission was set for epoch {current}: an order of epoch {asked} comes too late")]
pub struct AdmissionRefused {
    /// The epoch of the order.
    pub asked: Epoch,
    /// The epoch of the last order.
    pub current: Epoch,
}

/// The switch of the local replica's read-only sessions: shutting it cuts them at once. Unlike
/// the gate it has no deadline, because an old read breaks no promise.
pub struct ReadOnlyAdmission {
    state: RwLock<State>,
    changed: Notify,
}

struct State {
    epoch: Epoch,
    cell: Arc<Cell>,
}

impl Default for ReadOnlyAdmission {
    fn default() -> Self {
        Self::new()
    }
}

impl ReadOnlyAdmission {
    /// Admits nobody until told otherwise.
    pub fn new() -> Self {
        let cell = Cell::unlimited(Epoch::NONE, Arc::new(BootClock));
        cell.kill();
        Self {
            state: RwLock::new(State {
                epoch: Epoch::NONE,
                cell: Arc::new(cell),
            }),
            changed: Notify::new(),
        }
    }

    /// Admits or cuts the read-only sessions of the local replica. A new epoch alone cuts nobody:
    /// a replica goes on serving reads when the primary changes.
    pub fn set(&self, epoch: Epoch, allowed: bool) -> Result<(), AdmissionRefused> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if epoch < state.epoch {
            return Err(AdmissionRefused {
                asked: epoch,
                current: state.epoch,
            });
        }
        state.epoch = epoch;
        match (allowed, state.cell.is_over()) {
            (true, true) => state.cell = Arc::new(Cell::unlimited(epoch, Arc::new(BootClock))),
            (false, false) => state.cell.kill(),
            (true, false) | (false, true) => return Ok(()),
        }
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Whether reads are admitted.
    pub fn is_allowed(&self) -> bool {
        !self.cell().is_over()
    }

    pub(crate) fn enter(&self) -> Option<Pass> {
        let cell = self.cell();
        (!cell.is_over()).then(|| Pass::new(cell))
    }

    pub(crate) fn cell(&self) -> Arc<Cell> {
        Arc::clone(
            &self
                .state
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .cell,
        )
    }

    /// Waits for the next change. Has one listener, the supervisor.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}
