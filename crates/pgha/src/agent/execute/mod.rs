//! Carries out what was decided. Every order is idempotent; what takes time goes on beside the loop
//! and comes back as an event.

mod drain;
mod gate;
mod guard;
mod job;
mod lease;
mod raft;
mod replication;
mod start;
mod stop;

use pgha_core::decide::Action;

use super::Agent;
use crate::server::StartAs;

pub(super) use guard::order;
pub(super) use job::RunningJob;

impl Agent {
    pub(super) fn execute(&mut self, action: &Action) {
        match action {
            Action::Adopt(epoch) => self.adopt(*epoch),
            Action::HoldLease(epoch) => {
                let timing = self.state.borrow().state.settings.lease();
                let hash = self.secrets.draw(*epoch);
                self.parts.holder.hold(*epoch, timing, hash);
            }
            Action::DropLease => self.parts.holder.drop_lease(),
            Action::OpenGate(epoch) => self.open_gate(*epoch),
            Action::DrainGate(epoch) => {
                self.parts.gate.drain_idle(*epoch);
            }
            Action::CloseGate => self.close_gate(),
            Action::StartStandby { pinned } => self.start(StartAs::Standby {
                pinned: *pinned,
                upstream: None,
            }),
            Action::StartAttached(upstream) => self.start(StartAs::Standby {
                pinned: None,
                upstream: Some(upstream.clone()),
            }),
            Action::StartPrimary(_) => self.start(StartAs::Primary),
            Action::Assume(epoch) => self.assume(*epoch),
            Action::Stop(mode) => self.stop(*mode),
            Action::Follow(upstream) => self.follow(upstream),
            Action::Begin(kind) => self.begin(kind.clone()),
            Action::CancelJob => self.cancel_job(),
            Action::KeepSlots(names) => self.keep_slots(names),
            Action::Release { epoch, why } => self.release(*epoch, why),
            Action::Propose(command) => self.propose(command),
            Action::TransferLeadership(name) => self.transfer_leadership(name),
        }
    }
}
