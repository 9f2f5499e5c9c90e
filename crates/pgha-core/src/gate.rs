//! The gate: whether a read-write byte may pass.

use crate::{Epoch, Mono};

/// What the gate is set to. Closed unless somebody who may says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct GateSetting {
    /// The epoch whose primary is served.
    pub epoch: Epoch,
    /// New connections are held from here on.
    pub hold_at: Mono,
    /// No byte passes from here on, in either direction. Zero: closed.
    pub close_at: Mono,
}

impl GateSetting {
    /// Lets nothing pass.
    pub const CLOSED: Self = Self {
        epoch: Epoch::NONE,
        hold_at: Mono::ZERO,
        close_at: Mono::ZERO,
    };

    /// Whether a byte of a session of `epoch` may pass at `now`. `now` is to be read immediately
    /// before the write: a process that was stopped in between must find the gate shut (P1).
    pub fn may_pass(&self, epoch: Epoch, now: Mono) -> bool {
        epoch == self.epoch && now < self.close_at
    }

    /// Whether a new connection may be let in at `now`; where not, it is held.
    pub fn may_enter(&self, now: Mono) -> bool {
        now < self.hold_at && now < self.close_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: GateSetting = GateSetting {
        epoch: Epoch(3),
        hold_at: Mono::from_millis(750),
        close_at: Mono::from_millis(1000),
    };

    #[test]
    fn closed_lets_nothing_pass() {
        assert!(!GateSetting::CLOSED.may_pass(Epoch::NONE, Mono::ZERO));
        assert!(!GateSetting::CLOSED.may_enter(Mono::ZERO));
    }

    #[test]
    fn holds_before_it_closes() {
        assert!(OPEN.may_enter(Mono::from_millis(749)));
        assert!(!OPEN.may_enter(Mono::from_millis(750)));
        assert!(OPEN.may_pass(Epoch(3), Mono::from_millis(999)));
        assert!(!OPEN.may_pass(Epoch(3), Mono::from_millis(1000)));
    }

    #[test]
    fn a_session_of_another_epoch_never_passes() {
        assert!(!OPEN.may_pass(Epoch(2), Mono::ZERO));
        assert!(!OPEN.may_pass(Epoch(4), Mono::ZERO));
    }
}
