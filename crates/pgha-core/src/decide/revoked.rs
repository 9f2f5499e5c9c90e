//! Between two primaries: cut what can still be received, then report.

use std::time::Duration;

use super::elect::TARGET_MAX;
use super::local::JobKind;
use super::tell::former;
use super::{Action, Data, Decision, Input, Tree, begin, refuse_data, start_standby};
use crate::Reason;
use crate::report::{MemberState, Role};
use crate::state::{Fitness, Revoked};

/// A fenced primary waits this long for the decision before it starts as a standby: a restart in
/// place would have to stop that first. Both waits begin with the Revoke, so this one has to be longer
/// than the raft leader's longest by what it takes the decision to be committed and applied here: else
/// the start begins in the very moment that the restart is decided.
const FORMER_PRIMARY_PATIENCE: Duration = TARGET_MAX.saturating_add(Duration::from_secs(2));

pub(super) fn revoked(input: &Input<'_>, revoked: &Revoked, decision: &mut Decision) {
    decision.is(Role::None, MemberState::Stopped, Reason::Revoking);
    if refuse_data(input, decision) {
        return;
    }
    match &input.local.data {
        Data::Cluster(_) => {}
        Data::Missing => return decision.is(Role::None, MemberState::Stopped, Reason::DataMissing),
        // Nothing to report from; the next primary is what mends it.
        Data::Unknown | Data::Unfinished | Data::Unusable(_) => return,
    }
    match &input.local.tree {
        Tree::Unknown => {}
        Tree::Primary { .. } => decision.is(Role::None, MemberState::Fenced, Reason::Superseded),
        Tree::Empty if awaits_restart(input, revoked, decision) => {}
        Tree::Empty => start_standby(input, None, decision),
        Tree::Standby { .. } => settle(input, decision),
    }
}

/// The entry names an earlier process of this member: nobody is primary, and nobody is followed,
/// least of all oneself. The raft leader is about to end that epoch; what will be asked then is made
/// ready now.
pub(super) fn former_life(input: &Input<'_>, decision: &mut Decision) {
    decision.is(Role::None, MemberState::Stopped, Reason::NoPrimary);
    if refuse_data(input, decision) {
        return;
    }
    match (&input.local.data, &input.local.tree) {
        (Data::Cluster(_), Tree::Empty) => start_standby(input, None, decision),
        (Data::Cluster(_), Tree::Standby { .. }) => settle(input, decision),
        (
            Data::Unknown | Data::Missing | Data::Unfinished | Data::Unusable(_) | Data::Cluster(_),
            _,
        ) => {}
    }
}

/// Makes sure that nothing is received any more and that the end is known.
pub(super) fn settle(input: &Input<'_>, decision: &mut Decision) {
    let reason = if input.raft.quorum {
        Reason::Revoking
    } else {
        Reason::NoQuorum
    };
    decision.is(Role::Replica, MemberState::Fenced, reason);
    if input.local.settled.is_none() || input.local.upstream.is_some() {
        if input.local.probe.is_none() {
            return decision.is(Role::None, MemberState::Starting, Reason::Starting);
        }
        return begin(input, JobKind::Settle, decision);
    }
    leave_unfollowed(input, decision);
}

/// What cannot lead, having left the line or been promoted by hand, is followed by nobody. A receiver of
/// whoever still takes this member for the primary would leave the line as well, and after a promotion by
/// hand nobody might be left who can prove what he has. Without its slot it cannot attach; before this is
/// known here, it can.
pub(super) fn leave_unfollowed(input: &Input<'_>, decision: &mut Decision) {
    let settled = input.local.settled.as_ref();
    let fitness = settled.map(|position| input.state.fitness(&input.me.name, position));
    if fitness.is_some_and(|fitness| fitness != Fitness::OnLine) {
        drop_slots(input, decision);
    }
}

/// The slots of a primary of the past: nobody may read them again, and they keep WAL for as long as they are.
pub(super) fn drop_slots(input: &Input<'_>, decision: &mut Decision) {
    let probe = input.local.probe.as_ref();
    if probe.is_some_and(|probe| !probe.slots.is_empty()) {
        decision.act(Action::KeepSlots(Vec::new()));
    }
}

fn awaits_restart(input: &Input<'_>, revoked: &Revoked, decision: &mut Decision) -> bool {
    let until = input.since.phase + FORMER_PRIMARY_PATIENCE;
    // Whoever cannot answer as the fenced primary has to answer as a standby, and is waited for meanwhile.
    if former(input, revoked).is_none() || input.now >= until {
        return false;
    }
    decision.wake(input.now, until);
    true
}
