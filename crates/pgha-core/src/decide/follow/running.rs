//! A standby runs: attach it, or stop it where its data cannot follow.

use std::time::Duration;

use super::facts::{is_cut_off, journaled, judge, may_rewind, never_gets_consistent, wanted};
use crate::Reason;
use crate::decide::local::{JobKind, StopMode};
use crate::decide::revoked::{drop_slots, leave_unfollowed, settle};
use crate::decide::{Action, Decision, Input, Probe, begin, stop};
use crate::lineage::Verdict;
use crate::report::{MemberState, Role};
use crate::state::PrimaryRecord;

/// A receiver that does not stream for this long is looked into.
const DETACHED_MAX: Duration = Duration::from_secs(15);

pub(super) fn running(input: &Input<'_>, record: &PrimaryRecord, decision: &mut Decision) {
    if input
        .local
        .rewound
        .is_some_and(|epoch| epoch != record.epoch)
        && record.opened
    {
        stop(input, StopMode::Immediate, decision);
        return decision.is(Role::None, MemberState::Stopping, Reason::Diverged);
    }
    let upstream = wanted(input, record);
    if input.local.upstream.is_some() && input.local.upstream == upstream {
        return attached(input, decision);
    }
    let Some(position) = input
        .local
        .settled
        .as_ref()
        .filter(|_| input.local.upstream.is_none())
    else {
        return settle(input, decision);
    };
    leave_unfollowed(input, decision);
    let verdict = judge(input, record, position);
    if !input.raft.quorum {
        // Reads are sent to whoever is fenced for want of a quorum, and not to what has left the line.
        let reason = match verdict {
            Verdict::OnLine => Reason::NoQuorum,
            Verdict::Diverged { .. } | Verdict::Impostor { .. } => Reason::Diverged,
        };
        return decision.is(Role::Replica, MemberState::Fenced, reason);
    }
    match verdict {
        Verdict::OnLine if is_cut_off(input, record) => {
            stop(input, StopMode::Fast, decision);
            decision.is(Role::None, MemberState::Stopping, Reason::NotStreaming);
        }
        Verdict::OnLine if record.opened => {
            decision.is(Role::Replica, MemberState::Starting, None);
            if let Some(upstream) = upstream {
                decision.act(Action::Follow(upstream));
            }
        }
        Verdict::OnLine => {
            decision.is(
                Role::Replica,
                MemberState::Fenced,
                Reason::WaitingForPrimary,
            );
        }
        Verdict::Diverged { .. } if !may_rewind(input, record) => {
            decision.is(
                Role::Replica,
                MemberState::Fenced,
                Reason::WaitingForCheckpoint,
            );
        }
        Verdict::Diverged { .. } | Verdict::Impostor { .. } if !journaled(input) => {
            decision.is(Role::Replica, MemberState::Fenced, Reason::Diverged);
        }
        Verdict::Diverged { .. } | Verdict::Impostor { .. } if record.opened => {
            stop(input, StopMode::Fast, decision);
            decision.is(Role::None, MemberState::Stopping, Reason::Diverged);
        }
        Verdict::Diverged { .. } | Verdict::Impostor { .. } => {
            decision.is(Role::Replica, MemberState::Fenced, Reason::Diverged);
        }
    }
}

fn attached(input: &Input<'_>, decision: &mut Decision) {
    let probe = input.local.probe.as_ref();
    if input.raft.quorum && probe.is_some_and(Probe::settings_too_low) {
        stop(input, StopMode::Fast, decision);
        return decision.is(Role::None, MemberState::Stopping, Reason::SettingsTooLow);
    }
    let Some(since) = input.local.detached_since else {
        drop_slots(input, decision);
        return decision.is(Role::Replica, MemberState::Streaming, None);
    };
    decision.is(Role::Replica, MemberState::Starting, Reason::NotStreaming);
    if !input.raft.quorum && input.local.probe.is_some() {
        // Nobody can become primary meanwhile; what is here serves reads.
        decision.is(Role::Replica, MemberState::Fenced, Reason::NoQuorum);
    }
    let overdue = since + DETACHED_MAX;
    if input.now < overdue || !input.raft.quorum {
        return decision.wake(input.now, overdue);
    }
    if never_gets_consistent(input) {
        stop(input, StopMode::Immediate, decision);
        return decision.is(Role::None, MemberState::Stopping, Reason::NotStreaming);
    }
    // Look at the data once more; what is found decides the next step of the ladder.
    begin(input, JobKind::Settle, decision);
}
