//! The deadline: the first thing looked at after every wake. A guard that was frozen, or came late
//! to the processor, finds its lease over before it does anything else.

use pgha_core::{Epoch, Mono};

use super::state::{Guard, Role};
use crate::clock;
use crate::message::{EmptyCause, Refusal};

impl Guard {
    /// Empties the tree of a primary whose deadline has passed.
    pub(super) fn judge_deadline(&mut self) {
        if !self.is_running() {
            return;
        }
        let Role::Primary(primary) = &mut self.role else {
            return;
        };
        // A deadline of another epoch says nothing about this tree: what was last said holds.
        if let Some(deadline) = self.board.deadline()
            && deadline.epoch == primary.epoch
        {
            primary.kill_at = deadline.kill_at;
        }
        let now = clock::now();
        if now >= primary.kill_at {
            self.begin_emptying(EmptyCause::Deadline, now);
        }
    }

    /// The deadline of a lease that is held for this epoch.
    pub(super) fn lease_of(&self, epoch: Epoch) -> Result<Mono, Refusal> {
        let (board_epoch, board_kill_at) = match self.board.deadline() {
            Some(deadline) => (deadline.epoch, deadline.kill_at),
            None => (Epoch::NONE, Mono::ZERO),
        };
        let now = clock::now();
        if board_epoch != epoch || now >= board_kill_at {
            return Err(Refusal::LeaseNotHeld {
                epoch,
                board_epoch,
                board_kill_at,
                now,
            });
        }
        Ok(board_kill_at)
    }
}
