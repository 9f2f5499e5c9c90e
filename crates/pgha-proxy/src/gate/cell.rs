//! The deadline of one epoch and the sessions bound to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use pgha_core::gate::GateSetting;
use pgha_core::{Epoch, Mono};

use super::logins::{Login, Logins};
use crate::clock::Clock;

/// In place of a deadline: this epoch is over. Final.
const OVER: u64 = 0;
/// In place of a deadline: bytes pass until somebody says otherwise, no clock is read. For
/// sessions whose gate is another sidecar's, and for reads from a replica.
const NO_DEADLINE: u64 = u64::MAX;

/// What all sessions of one epoch look at before each write.
pub(crate) struct Cell {
    pub(crate) epoch: Epoch,
    hold_at: AtomicU64,
    close_at: AtomicU64,
    holding: AtomicBool,
    draining: AtomicBool,
    sessions: AtomicUsize,
    logins: Arc<Logins>,
    clock: Arc<dyn Clock>,
}

impl Cell {
    pub(crate) fn new(epoch: Epoch, hold_at: Mono, close_at: Mono, clock: Arc<dyn Clock>) -> Self {
        Self {
            epoch,
            hold_at: AtomicU64::new(hold_at.as_nanos()),
            close_at: AtomicU64::new(close_at.as_nanos()),
            holding: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            sessions: AtomicUsize::new(0),
            logins: Arc::default(),
            clock,
        }
    }

    /// A cell that stays open until it is killed.
    pub(crate) fn unlimited(epoch: Epoch, clock: Arc<dyn Clock>) -> Self {
        Self::new(epoch, Mono::NEVER, Mono::NEVER, clock)
    }

    /// Whether a byte may pass now. The deadline is loaded first and the clock read last, so that
    /// nothing but the write itself comes between the reading and the write.
    #[inline]
    pub(crate) fn may_pass(&self) -> bool {
        match self.close_at.load(Ordering::Acquire) {
            OVER => false,
            NO_DEADLINE => true,
            close_at => self.clock.now().as_nanos() < close_at,
        }
    }

    /// Whether a new session may be bound to this epoch now.
    pub(crate) fn may_enter(&self) -> bool {
        if self.holding.load(Ordering::Acquire) {
            return false;
        }
        let setting = self.setting();
        setting.may_enter(self.clock.now())
    }

    pub(crate) fn setting(&self) -> GateSetting {
        let close_at = self.close_at.load(Ordering::Acquire);
        if close_at == OVER {
            return GateSetting::CLOSED;
        }
        GateSetting {
            epoch: self.epoch,
            hold_at: Mono::from_nanos(self.hold_at.load(Ordering::Acquire)),
            close_at: Mono::from_nanos(close_at),
        }
    }

    /// Moves the deadlines, unless this epoch is over or its deadline has passed.
    pub(crate) fn extend(&self, hold_at: Mono, close_at: Mono) -> bool {
        if self.lapse() {
            return false;
        }
        self.hold_at.store(hold_at.as_nanos(), Ordering::Release);
        // Compare and swap: an extension must not undo a `kill` that comes between.
        self.close_at
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |old| {
                (old != OVER).then_some(close_at.as_nanos())
            })
            .is_ok()
    }

    /// Makes a deadline that has passed final. Says whether this epoch is over.
    pub(crate) fn lapse(&self) -> bool {
        let close_at = self.close_at.load(Ordering::Acquire);
        if close_at != OVER && self.clock.now().as_nanos() >= close_at {
            // Another value means that it was extended or killed meanwhile: either stands.
            let _ =
                self.close_at
                    .compare_exchange(close_at, OVER, Ordering::AcqRel, Ordering::Acquire);
        }
        self.is_over()
    }

    pub(crate) fn kill(&self) {
        self.close_at.store(OVER, Ordering::Release);
    }

    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.close_at.load(Ordering::Acquire) == OVER
    }

    pub(crate) fn hold(&self) {
        self.holding.store(true, Ordering::Release);
    }

    pub(crate) fn drain(&self) {
        self.holding.store(true, Ordering::Release);
        self.draining.store(true, Ordering::Release);
    }

    pub(crate) fn resume(&self) {
        self.draining.store(false, Ordering::Release);
        self.holding.store(false, Ordering::Release);
    }

    #[inline]
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(crate) fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Acquire)
    }

    /// Counts a login that reaches PostgreSQL from that address.
    pub(crate) fn begin_login(&self, from: SocketAddr) -> Login {
        self.logins.begin(from)
    }

    pub(crate) fn logins(&self) -> Vec<SocketAddr> {
        self.logins.under_way()
    }
}

/// A session's binding to the epoch it entered under. Counted while it lives.
pub(crate) struct Pass {
    cell: Arc<Cell>,
}

impl Pass {
    pub(crate) fn new(cell: Arc<Cell>) -> Self {
        cell.sessions.fetch_add(1, Ordering::AcqRel);
        Self { cell }
    }
}

impl std::ops::Deref for Pass {
    type Target = Cell;

    fn deref(&self) -> &Cell {
        &self.cell
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.cell.sessions.fetch_sub(1, Ordering::AcqRel);
    }
}
