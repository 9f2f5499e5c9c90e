//! Keeps the raft leader away from the primary.

use super::{Reports, TRANSFER_PAUSE};
use crate::decide::{Action, Decision, Input};
use crate::state::PrimaryRecord;
use crate::{Member, MemberName, Mono};

/// Losing the leader and the primary together costs an election on top of the lease: keep them apart.
pub(super) fn transfer_leadership(
    input: &Input<'_>,
    reports: &Reports<'_>,
    record: &PrimaryRecord,
    decision: &mut Decision,
) {
    let settled = input.since.phase + TRANSFER_PAUSE;
    let tried_lately = |at: Mono| input.now < at + TRANSFER_PAUSE;
    let leaving = input.local.shutting_down;
    if (record.node != input.me.name && !leaving) || input.state.handover.is_some() {
        return;
    }
    if input.now < settled || input.raft.transfer_tried.is_some_and(tried_lately) {
        return decision.wake(input.now, input.now + TRANSFER_PAUSE);
    }
    if !leaving && voters_change(input, reports) {
        return decision.wake(input.now, input.now + TRANSFER_PAUSE);
    }
    let other = input.raft.voters.values().find(|name| {
        **name != input.me.name
            && **name != record.node
            && reports
                .fresh(name)
                .is_some_and(|report| !report.shutting_down)
    });
    if let Some(name) = other {
        decision.act(Action::TransferLeadership(name.clone()));
    }
}

/// Whether a membership is not settled yet, or somebody who is there waits for a vote. Without a raft
/// leader a grantor that does not know the newest membership refuses the primary's renewals, and an
/// attempt to move the lead may cost more than a lease.
fn voters_change(input: &Input<'_>, reports: &Reports<'_>) -> bool {
    let waits = |(name, member): (&MemberName, &Member)| {
        !input.raft.voters.contains_key(&member.raft_id) && reports.fresh(name).is_some()
    };
    input.raft.quorums.are_changing() || input.state.members.iter().any(waits)
}
