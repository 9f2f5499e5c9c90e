//! Stopping PostgreSQL for another sidecar: fast, then immediately, then by force.

use std::time::Duration;

use pgha_core::Mono;

use super::state::{Guard, Phase};
use crate::clock;
use crate::door::Retire;
use crate::message::{EmptyCause, PostmasterSignal};

/// For a stop that the service manager asks for after the sidecar's death.
const BY_SIGNAL: Retire = Retire {
    fast: Duration::from_secs(20),
    immediate: Duration::from_secs(5),
};

/// A tree being stopped.
pub(super) struct Retiring {
    immediate_at: Mono,
    kill_at: Mono,
    immediate_sent: bool,
}

impl Retiring {
    pub(super) fn next_look(&self) -> Mono {
        if self.immediate_sent {
            self.kill_at
        } else {
            self.immediate_at
        }
    }
}

impl Guard {
    /// A guard with a sidecar leaves stopping to it, and never leaves a tree behind.
    pub(super) fn notice_signals(&mut self) {
        if self.wake.stop_was_asked() && self.control.is_none() && self.retiring.is_none() {
            self.retire(BY_SIGNAL);
        }
    }

    /// Stops PostgreSQL and leaves. A deadline goes on applying meanwhile.
    pub(super) fn retire(&mut self, order: Retire) {
        self.leaving = true;
        match &self.phase {
            Phase::AwaitingAck { .. } => self.release_unacknowledged(),
            Phase::Emptying(_) | Phase::Idle => {}
            Phase::Running => {
                let immediate_at = clock::now() + order.fast;
                self.retiring = Some(Retiring {
                    immediate_at,
                    kill_at: immediate_at + order.immediate,
                    immediate_sent: false,
                });
                self.signal_postmaster(PostmasterSignal::Fast);
            }
        }
    }

    pub(super) fn advance_retiring(&mut self, now: Mono) {
        let Some(retiring) = self
            .retiring
            .as_mut()
            .filter(|retiring| now >= retiring.next_look())
        else {
            return;
        };
        if now >= retiring.kill_at {
            self.begin_emptying(EmptyCause::Retired, now);
        } else {
            retiring.immediate_sent = true;
            self.signal_postmaster(PostmasterSignal::Immediate);
        }
    }
}
