//! Stops PostgreSQL, as gently as was decided.

use pgha_core::Mono;
use pgha_core::decide::{JobKind, StopMode, Tree};
use pgha_guard::{GuardHandle, Order, PostmasterSignal, clock};

use super::order;
use crate::agent::Agent;

impl Agent {
    pub(super) fn stop(&mut self, mode: StopMode) {
        let Some(guard) = self.guard.clone() else {
            return;
        };
        self.refuse_late_start(&guard);
        if !self.local.stops(mode, clock::now()) {
            return;
        }
        tracing::info!(?mode, "PostgreSQL is stopped");
        if self
            .job_kind()
            .is_some_and(|kind| !matches!(kind, JobKind::Checkpoint { .. }))
        {
            self.cancel_job();
        }
        let epoch = self.local.adopted;
        let stop = match mode {
            StopMode::Fast => Order::Signal {
                epoch,
                signal: PostmasterSignal::Fast,
            },
            StopMode::Immediate => Order::Signal {
                epoch,
                signal: PostmasterSignal::Immediate,
            },
            StopMode::Kill => Order::Empty { epoch },
        };
        match self.local.gate_open {
            Some(open) if mode == StopMode::Fast => self.stop_when_drained(open, guard, stop),
            Some(_) | None => order(&guard, &stop),
        }
    }

    /// A start as primary that is under way when its lease has ended finds no deadline and is refused
    /// by the guard. Not so for a tree that runs: it may be reinstated until the deadline it has.
    fn refuse_late_start(&self, guard: &GuardHandle) {
        if let Tree::Primary { epoch, .. } = self.local.tree
            && self.local.starting
            && !self.local.lease.holds(epoch)
        {
            guard.board().set_deadline(epoch, Mono::ZERO);
        }
    }

    /// A second request to end: no more patience.
    pub(in crate::agent) fn hurry(&mut self) {
        self.busy.hurried = true;
        self.cancel_job();
        if !matches!(self.local.tree, Tree::Empty | Tree::Unknown) {
            tracing::warn!("PostgreSQL is killed");
            self.stop(StopMode::Kill);
        }
    }
}
