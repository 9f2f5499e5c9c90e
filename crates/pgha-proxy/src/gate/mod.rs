//! The gate: the check that decides whether a read-write byte may pass.
//!
//! Each epoch has a cell of its own with its own deadline, and a session is bound at its entry to
//! the cell of one epoch. A session therefore never sees another epoch's deadline, torn or not:
//! there is no pair of values that could be read in halves.

mod cell;
mod logins;

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use pgha_core::gate::GateSetting;
use pgha_core::{Epoch, Mono};
use tokio::sync::Notify;

pub(crate) use cell::{Cell, Pass};
pub(crate) use logins::Login;

use crate::clock::{BootClock, Clock};

/// Why an order to the gate had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateRefused {
    /// The gate has seen a higher epoch, or was never set to this one.
    #[error("the gate is set to epoch {current}, not to {asked}: ask with the current epoch")]
    OtherEpoch {
        /// The epoch of the order.
        asked: Epoch,
        /// The epoch that the gate is set to.
        current: Epoch,
    },
    /// The gate has closed for this epoch, and nothing opens it for the same epoch again.
    #[error("the gate has closed for epoch {epoch} for good: only a higher epoch opens it")]
    Over {
        /// The epoch that is over.
        epoch: Epoch,
    },
}

/// Holds the [`GateSetting`] that the lease thread writes and every write of a session reads.
///
/// A session's check is one atomic load and one reading of the clock. The lock guards only which
/// cell is the current one: it is held for writing once per epoch, and shared by extensions,
/// closing and the entry of new sessions, so that none of these waits for another.
pub struct Gate {
    clock: Arc<dyn Clock>,
    current: RwLock<Arc<Cell>>,
    changed: Notify,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// A closed gate that reads `CLOCK_BOOTTIME`.
    pub fn new() -> Self {
        Self::with_clock(Arc::new(BootClock))
    }

    /// A closed gate that reads `clock`.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let cell = Cell::new(Epoch::NONE, Mono::ZERO, Mono::ZERO, Arc::clone(&clock));
        Self {
            clock,
            current: RwLock::new(Arc::new(cell)),
            changed: Notify::new(),
        }
    }

    /// Sets epoch and deadlines. A higher epoch ends the sessions of the one before; the same
    /// epoch is an extension; [`GateSetting::CLOSED`] closes.
    pub fn set(&self, setting: GateSetting) -> Result<(), GateRefused> {
        if setting.close_at == Mono::ZERO {
            self.close();
            return Ok(());
        }
        let current = self.cell();
        if setting.epoch == current.epoch {
            return self.extend(setting.epoch, setting.hold_at, setting.close_at);
        }
        if setting.epoch < current.epoch {
            return Err(GateRefused::OtherEpoch {
                asked: setting.epoch,
                current: current.epoch,
            });
        }
        self.install(setting)
    }

    /// Moves the deadlines of `epoch`. Refused once the gate has closed for it, by order or by
    /// time: a session that was cut must stay cut.
    #[must_use = "a refused extension means that the epoch is over"]
    pub fn extend(&self, epoch: Epoch, hold_at: Mono, close_at: Mono) -> Result<(), GateRefused> {
        let cell = self.cell();
        if cell.epoch != epoch {
            return Err(GateRefused::OtherEpoch {
                asked: epoch,
                current: cell.epoch,
            });
        }
        let entered = cell.may_enter();
        if !cell.extend(hold_at, close_at) {
            self.changed.notify_one();
            return Err(GateRefused::Over { epoch });
        }
        // Wake those who wait; a mere renewal wakes nobody.
        if entered != cell.may_enter() {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Shuts the gate now and for good for its present epoch.
    pub fn close(&self) {
        self.cell().kill();
        self.changed.notify_one();
    }

    /// Holds new connections of `epoch` from now on while established sessions go on: the first
    /// step of a handover. Says whether `epoch` is the open one.
    pub fn hold_new(&self, epoch: Epoch) -> bool {
        self.order(epoch, Cell::hold)
    }

    /// Closes each session of `epoch` at its next point outside a transaction, and lets no new one
    /// in; whom PostgreSQL has not answered yet waits for the next primary. Encrypted sessions
    /// cannot be seen into: they end when PostgreSQL stops.
    pub fn drain_idle(&self, epoch: Epoch) -> bool {
        self.order(epoch, Cell::drain)
    }

    /// Ends what [`hold_new`](Self::hold_new) and [`drain_idle`](Self::drain_idle) began: the
    /// handover was aborted.
    pub fn resume(&self, epoch: Epoch) -> bool {
        self.order(epoch, Cell::resume)
    }

    /// How many sessions of `epoch` are established through this gate.
    pub fn sessions(&self, epoch: Epoch) -> usize {
        let cell = self.cell();
        if cell.epoch == epoch {
            cell.sessions()
        } else {
            0
        }
    }

    /// The addresses from which PostgreSQL is reached by those of `epoch` that are not known to be
    /// logged in. Encrypted sessions cannot be seen into and stay among them: PostgreSQL knows.
    pub fn logins(&self, epoch: Epoch) -> Vec<SocketAddr> {
        let cell = self.cell();
        if cell.epoch == epoch {
            cell.logins()
        } else {
            Vec::new()
        }
    }

    /// Whether bytes pass at this moment: what `/primary` answers.
    pub fn is_open(&self) -> bool {
        self.cell().may_pass()
    }

    /// The epoch for which bytes pass at this moment, if they do: one reading, so that who is told
    /// "open" is told for what.
    pub fn open_epoch(&self) -> Option<Epoch> {
        let cell = self.cell();
        cell.may_pass().then_some(cell.epoch)
    }

    /// Whether a new connection would be let in at this moment.
    pub fn may_enter(&self) -> bool {
        self.cell().may_enter()
    }

    /// The setting at this moment; [`GateSetting::CLOSED`] once closed.
    pub fn setting(&self) -> GateSetting {
        self.cell().setting()
    }

    /// The highest epoch that the gate was set to, closed or not.
    pub fn epoch(&self) -> Epoch {
        self.cell().epoch
    }

    /// Binds a new session to the present epoch, if new sessions may enter.
    pub(crate) fn enter(&self) -> Option<Pass> {
        let cell = self.cell();
        cell.may_enter().then(|| Pass::new(cell))
    }

    /// A pass for a cancel request, which is let through while new sessions are held.
    pub(crate) fn enter_to_cancel(&self) -> Option<Pass> {
        let cell = self.cell();
        cell.may_pass().then(|| Pass::new(cell))
    }

    pub(crate) fn cell(&self) -> Arc<Cell> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn now(&self) -> Mono {
        self.clock.now()
    }

    /// Waits for the next change that is not a mere renewal. Has one listener, the supervisor.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn install(&self, setting: GateSetting) -> Result<(), GateRefused> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if setting.epoch <= current.epoch {
            return Err(GateRefused::OtherEpoch {
                asked: setting.epoch,
                current: current.epoch,
            });
        }
        // The old epoch ends before the new one begins: never two open at once.
        current.kill();
        let clock = Arc::clone(&self.clock);
        *current = Arc::new(Cell::new(
            setting.epoch,
            setting.hold_at,
            setting.close_at,
            clock,
        ));
        drop(current);
        self.changed.notify_one();
        Ok(())
    }

    fn order(&self, epoch: Epoch, order: fn(&Cell)) -> bool {
        let cell = self.cell();
        let open = cell.epoch == epoch && cell.may_pass();
        if open {
            order(&cell);
            self.changed.notify_one();
        }
        open
    }
}

#[cfg(test)]
mod tests;
