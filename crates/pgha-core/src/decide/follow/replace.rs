//! Replaces the data: by a rewind, else by a clone.

use super::facts::{may_rewind, primary_report};
use crate::decide::local::{JobKind, StopMode};
use crate::decide::{Decision, Input, Tree, begin, stop};
use crate::report::{MemberReport, MemberState, Role};
use crate::state::PrimaryRecord;
use crate::{MemberName, Reason};

/// Rewinds that fail in a row before the data is cloned anew.
const REWIND_FAILURES_MAX: u32 = 2;

pub(super) fn rewind(input: &Input<'_>, record: &PrimaryRecord, decision: &mut Decision) {
    let failed = input.local.failed.as_ref().is_some_and(|failure| {
        matches!(failure.kind, JobKind::Rewind { .. }) && failure.count >= REWIND_FAILURES_MAX
    });
    if failed {
        return clone(input, record, Reason::Diverged, decision);
    }
    decision.is(Role::None, MemberState::Rewinding, Reason::Rewinding);
    if may_rewind(input, record) {
        let kind = JobKind::Rewind {
            from: record.node.clone(),
            epoch: record.epoch,
        };
        begin(input, kind, decision);
    } else {
        decision.is(
            Role::None,
            MemberState::Stopped,
            Reason::WaitingForCheckpoint,
        );
    }
}

pub(super) fn clone(
    input: &Input<'_>,
    record: &PrimaryRecord,
    why: Reason,
    decision: &mut Decision,
) {
    if !matches!(input.local.tree, Tree::Empty) {
        stop(input, StopMode::Fast, decision);
        return decision.is(Role::None, MemberState::Stopping, why);
    }
    if !input.raft.quorum {
        return decision.is(Role::None, MemberState::Stopped, Reason::NoQuorum);
    }
    if !record.opened || primary_report(input, record).is_none() {
        return decision.is(Role::None, MemberState::Stopped, Reason::WaitingForPrimary);
    }
    decision.is(Role::None, MemberState::Cloning, Reason::Cloning);
    let from = clone_source(input, record);
    begin(
        input,
        JobKind::Clone {
            from,
            epoch: record.epoch,
        },
        decision,
    );
}

/// A replica that streams, so that the primary is spared; the primary after a failure.
fn clone_source(input: &Input<'_>, record: &PrimaryRecord) -> MemberName {
    let failed = input
        .local
        .failed
        .as_ref()
        .is_some_and(|failure| matches!(failure.kind, JobKind::Clone { .. }));
    let good = |report: &MemberReport| {
        report.state == MemberState::Streaming && report.timeline == Some(record.timeline)
    };
    input
        .peers
        .values()
        .find(|heard| !failed && heard.refused_at.is_none() && good(&heard.report))
        .map_or_else(|| record.node.clone(), |heard| heard.report.name.clone())
}
