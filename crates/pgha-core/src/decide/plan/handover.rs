//! Handovers: begun for a primary that shuts down, ended at their deadline.

use std::time::Duration;

use super::{TRANSFER_PAUSE, propose};
use crate::Command;
use crate::decide::{Decision, Input};
use crate::report::MemberReport;
use crate::state::PrimaryRecord;

/// How long a handover may take that nobody asked for with a deadline.
const SHUTDOWN_HANDOVER_MS: u64 = 20_000;

pub(super) fn handover(
    input: &Input<'_>,
    record: &PrimaryRecord,
    holder: Option<&MemberReport>,
    decision: &mut Decision,
) {
    match &input.state.handover {
        Some(handover) => {
            // The holder's clock started later than this one.
            let overdue =
                input.since.handover + Duration::from_millis(handover.deadline_ms) + TRANSFER_PAUSE;
            decision.wake(input.now, overdue);
            if input.now >= overdue {
                let why = "its deadline passed".to_owned();
                propose(
                    Command::HandoverEnd {
                        epoch: record.epoch,
                        why,
                    },
                    decision,
                );
            }
        }
        None if holder.is_some_and(|report| report.shutting_down) => {
            propose(
                Command::Handover {
                    epoch: record.epoch,
                    target: None,
                    deadline_ms: SHUTDOWN_HANDOVER_MS,
                },
                decision,
            );
        }
        None => {}
    }
}
