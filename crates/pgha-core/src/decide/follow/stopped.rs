//! Nothing runs: start a standby, or replace its data first.

use std::time::Duration;

use super::facts::{is_cut_off, journaled, judge, never_gets_consistent, wanted};
use super::replace::{clone, rewind};
use crate::Reason;
use crate::decide::{Action, Data, DataCluster, Decision, Input, start_pause, start_standby};
use crate::lineage::Verdict;
use crate::report::{MemberState, Role};
use crate::state::PrimaryRecord;

/// Without a quorum, an empty tree waits this long for one before it starts to serve reads.
const QUORUM_PATIENCE: Duration = Duration::from_secs(2);
/// Starts that fail in a row before the data is cloned anew.
const START_FAILURES_MAX: u32 = 3;

pub(super) fn stopped(input: &Input<'_>, record: &PrimaryRecord, decision: &mut Decision) {
    if !input.raft.quorum && input.now < input.since.phase + QUORUM_PATIENCE {
        return decision.wake(input.now, input.since.phase + QUORUM_PATIENCE);
    }
    if input.raft.quorum && input.local.start_failures.count >= START_FAILURES_MAX {
        if record.opened && !journaled(input) {
            return decision.is(Role::None, MemberState::Stopped, Reason::StartFailed);
        }
        if is_untouched_copy(input) {
            decision.is(Role::None, MemberState::Failed, Reason::StartFailed);
            decision.why.detail = Some(input.local.start_failures.detail.clone());
            return start_standby(input, None, decision);
        }
        return clone(input, record, Reason::StartFailed, decision);
    }
    if input.raft.quorum && never_gets_consistent(input) {
        return clone(input, record, Reason::NotStreaming, decision);
    }
    if let Some(epoch) = input.local.rewound {
        return start_rewound(input, record, epoch, decision);
    }
    let verdict = input
        .local
        .settled
        .as_ref()
        .map(|p| judge(input, record, p));
    match verdict {
        Some(Verdict::Diverged { .. } | Verdict::Impostor { .. }) if !journaled(input) => {
            decision.is(Role::None, MemberState::Stopped, Reason::Diverged);
        }
        Some(Verdict::Diverged { .. }) if input.raft.quorum => rewind(input, record, decision),
        Some(Verdict::Impostor { why }) if input.raft.quorum => {
            clone(input, record, Reason::Diverged, decision);
            decision.why.detail.get_or_insert(why);
        }
        Some(Verdict::OnLine) if input.raft.quorum && is_cut_off(input, record) => {
            clone(input, record, Reason::NotStreaming, decision);
        }
        Some(_) | None => {
            decision.is(Role::None, MemberState::Starting, Reason::Starting);
            start_standby(input, None, decision);
        }
    }
}

/// Whether the data is as another member has it: that PostgreSQL does not start is not the data's fault, and
/// yet another copy would take the place of what was moved aside for this one (P8).
fn is_untouched_copy(input: &Input<'_>) -> bool {
    let untouched = |data: &DataCluster| data.never_replayed && data.rewound.is_none();
    matches!(&input.local.data, Data::Cluster(data) if untouched(data))
}

/// Rewound data is the primary's up to the end of the rewind, and consistent once it has replayed
/// that far: the rest of the WAL comes from that primary only. Where that is not the primary any
/// more, nobody can tell where to go on.
fn start_rewound(
    input: &Input<'_>,
    record: &PrimaryRecord,
    epoch: crate::Epoch,
    decision: &mut Decision,
) {
    if !input.raft.quorum {
        // Started without an upstream it would serve no reads and never get consistent.
        return decision.is(Role::None, MemberState::Stopped, Reason::NoQuorum);
    }
    let upstream = wanted(input, record).filter(|_| epoch == record.epoch && record.opened);
    let Some(upstream) = upstream else {
        return clone(input, record, Reason::Diverged, decision);
    };
    decision.is(Role::None, MemberState::Starting, Reason::Starting);
    match start_pause(input) {
        Some(until) => decision.wake(input.now, until),
        None => decision.act(Action::StartAttached(upstream)),
    }
}
