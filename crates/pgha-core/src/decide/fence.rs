//! Fencing: from local facts alone.

use std::time::Duration;

use super::{Action, Data, Decision, Input, Tree, is_mine, stop};
use crate::decide::local::StopMode;
use crate::lease::Hold;
use crate::report::{MemberState, Role};
use crate::{Epoch, Phase, Reason, StartKind};

/// A stopped PostgreSQL's files are read within this, or the release says nothing of them: nobody
/// is primary meanwhile.
const SHUTDOWN_READ_MAX: Duration = Duration::from_secs(2);

/// Stops what may not serve. True where nothing else is to be decided.
pub(super) fn fence(input: &Input<'_>, decision: &mut Decision) -> bool {
    release(input, decision);
    match &input.local.tree {
        Tree::Unknown | Tree::Empty => {
            close(input, decision);
            false
        }
        Tree::Standby { .. } | Tree::Primary { .. } if input.local.removed => {
            without_data(input, decision)
        }
        Tree::Standby { .. } => by_hand(input, decision),
        Tree::Primary { epoch, .. } => unentitled(input, *epoch, decision),
    }
}

/// What it still acknowledges is in files that no restart will find.
fn without_data(input: &Input<'_>, decision: &mut Decision) -> bool {
    close(input, decision);
    stop(input, StopMode::Immediate, decision);
    decision.is(Role::None, MemberState::Stopping, Reason::DataMissing);
    true
}

/// Nothing of the tree is left: say so, and never renew that epoch again.
fn release(input: &Input<'_>, decision: &mut Decision) {
    let Some(releasable) = &input.local.releasable else {
        return;
    };
    if !matches!(input.local.tree, Tree::Empty) {
        return;
    }
    close(input, decision);
    // What a planned stop ended with is part of its release; it is being read.
    let planned = input
        .state
        .handover
        .as_ref()
        .is_some_and(|h| h.epoch == releasable.epoch);
    let overdue = releasable.at + SHUTDOWN_READ_MAX;
    if planned && matches!(input.local.data, Data::Unknown) && input.now < overdue {
        return decision.wake(input.now, overdue);
    }
    if input.local.lease.epoch == releasable.epoch {
        decision.act(Action::DropLease);
    }
    let why = if input.local.removed {
        "its data directory was removed".to_owned()
    } else {
        releasable.cause.clone()
    };
    decision.act(Action::Release {
        epoch: releasable.epoch,
        why,
    });
}

/// A standby that is not one any more was promoted by hand: a promotion of ours begins with the
/// guard's taking the tree as the primary's.
fn by_hand(input: &Input<'_>, decision: &mut Decision) -> bool {
    close(input, decision);
    if input
        .local
        .probe
        .as_ref()
        .is_none_or(|probe| probe.in_recovery)
    {
        return false;
    }
    stop(input, StopMode::Immediate, decision);
    decision.is(Role::None, MemberState::Fenced, Reason::ManualPromotion);
    true
}

fn unentitled(input: &Input<'_>, epoch: Epoch, decision: &mut Decision) -> bool {
    let lease = &input.local.lease;
    if lease.holds(epoch) {
        if let Hold::Held(deadlines) = lease.hold {
            decision.wake(input.now, deadlines.close);
        }
        return false;
    }
    close(input, decision);
    if may_be_reinstated(input, epoch) {
        // The guard has the old epoch's deadline and keeps it.
        if let Some(deadlines) = lease.deadlines {
            decision.wake(input.now, deadlines.kill);
        }
        return false;
    }
    stop(input, StopMode::Immediate, decision);
    let superseded = lease.epoch == epoch && input.local.adopted > epoch;
    let reason = if superseded {
        Reason::Superseded
    } else {
        Reason::LeaseLost
    };
    decision.is(Role::None, MemberState::Fenced, reason);
    true
}

/// The epoch was revoked while its lease was good: it may be followed by one of the same process.
fn may_be_reinstated(input: &Input<'_>, epoch: Epoch) -> bool {
    let lease = &input.local.lease;
    match &input.state.phase {
        Phase::Revoked(revoked) => {
            let mine = revoked.previous.as_ref().is_some_and(|previous| {
                previous.epoch == epoch && previous.opened && is_mine(input, previous)
            });
            let in_time = lease
                .deadlines
                .is_some_and(|deadlines| input.now < deadlines.close);
            mine && lease.epoch == epoch && in_time && input.state.epoch > epoch
        }
        Phase::Primary(record) => {
            record.kind == StartKind::Reinstatement
                && is_mine(input, record)
                && (lease.epoch == record.epoch || input.local.given_up < record.epoch)
        }
        Phase::Empty | Phase::Bootstrap { .. } => false,
    }
}

fn close(input: &Input<'_>, decision: &mut Decision) {
    if input.local.gate_open.is_some() {
        decision.act(Action::CloseGate);
    }
}
