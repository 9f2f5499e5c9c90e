//! This process is named primary: collect the lease, start or promote, serve, hand over.

use std::time::Duration;

use super::local::{DataCluster, JobKind, StopMode};
use super::revoked::{former_life, settle};
use super::{
    Action, Data, Decision, Input, Tree, begin, refuse_data, slot_name, start_pause, start_standby,
    stop,
};
use crate::lease::Hold;
use crate::report::{MemberState, Role};
use crate::state::{Handover, PrimaryRecord};
use crate::{Reason, StartKind};

const DATA_GONE: &str = "its data directory is gone, or cannot be used";

pub(super) fn primary(input: &Input<'_>, record: &PrimaryRecord, decision: &mut Decision) {
    let local = input.local;
    if record.epoch <= local.given_up {
        // Dead for ever; the raft leader is about to end it. Without a quorum there is none, and what
        // is here can serve reads meanwhile.
        if !input.raft.quorum {
            return former_life(input, decision);
        }
        return decision.is(Role::None, MemberState::Stopped, Reason::NoPrimary);
    }
    if local.lease.epoch != record.epoch {
        decision.act(Action::HoldLease(record.epoch));
    }
    if !local.lease.holds(record.epoch) {
        waits_for_lease(input, record, decision);
        return;
    }
    if refuse_data(input, decision) {
        let reason = decision.why.reason.map_or("", Reason::sentence);
        return give_up(input, record, reason, decision);
    }
    match &local.tree {
        Tree::Unknown => decision.is(Role::None, MemberState::Starting, Reason::Starting),
        Tree::Empty => start(input, record, decision),
        Tree::Standby { pinned, .. } => {
            standby(input, record, pinned.is_some(), decision);
        }
        Tree::Primary { epoch, .. } if *epoch < record.epoch => {
            decision.act(Action::Assume(record.epoch));
            decision.is(Role::None, MemberState::Promoting, Reason::Promoting);
        }
        Tree::Primary { .. } => running(input, record, decision),
    }
}

fn waits_for_lease(input: &Input<'_>, record: &PrimaryRecord, decision: &mut Decision) {
    decision.is(Role::None, MemberState::Promoting, Reason::LeaseWait);
    let over = input.local.lease.epoch == record.epoch && input.local.lease.hold == Hold::Over;
    if over {
        decision.is(Role::None, MemberState::Stopped, Reason::LeaseLost);
        decision.act(Action::DropLease);
    } else if record.kind == StartKind::Promotion {
        // What has to be ready before the promotion need not wait for the lease.
        match (&input.local.tree, &input.local.data) {
            (Tree::Empty, Data::Cluster(cluster)) => {
                start_standby(input, pin(input, cluster), decision);
            }
            (Tree::Unknown | Tree::Empty | Tree::Standby { .. } | Tree::Primary { .. }, _) => {}
        }
    }
}

fn start(input: &Input<'_>, record: &PrimaryRecord, decision: &mut Decision) {
    decision.is(Role::None, MemberState::Starting, Reason::Starting);
    if input.local.served == Some(record.epoch) {
        // It ran in this epoch and ended, or its start came to nothing: with a release, or without
        // one by time. Renewing it would keep the cluster without a primary for ever.
        return decision.act(Action::DropLease);
    }
    match record.kind {
        StartKind::Initial | StartKind::Restart => match input.local.data {
            Data::Cluster(_) => decision.act(Action::StartPrimary(record.epoch)),
            Data::Unknown => {}
            Data::Missing | Data::Unfinished | Data::Unusable(_) => {
                give_up(input, record, DATA_GONE, decision);
            }
        },
        StartKind::Reinstatement => {
            give_up(
                input,
                record,
                "PostgreSQL ended before it was reinstated",
                decision,
            );
        }
        StartKind::Promotion if has_departed(input, record) => {
            let why = "its data is not what it reported: somebody promoted it by hand";
            give_up(input, record, why, decision);
        }
        StartKind::Promotion if start_pause(input).is_some() => {
            let why = format!(
                "PostgreSQL does not start: {}",
                input.local.start_failures.detail
            );
            give_up(input, record, &why, decision);
        }
        StartKind::Promotion => match &input.local.data {
            Data::Cluster(cluster) => start_standby(input, pin(input, cluster), decision),
            // Whether it has to be pinned is being read.
            Data::Unknown => {}
            Data::Missing | Data::Unfinished | Data::Unusable(_) => {
                give_up(input, record, DATA_GONE, decision);
            }
        },
    }
}

/// The data is not any more what the choice was made from. It may have less, as a record that was not
/// received to its end is gone after a restart.
fn has_departed(input: &Input<'_>, record: &PrimaryRecord) -> bool {
    let settled = input.local.settled.as_ref();
    settled.is_some_and(|now| now.timeline != record.parent || now.end > record.lsn)
}

/// A history file from beyond the end of this data would become its target (faults M25).
fn pin(input: &Input<'_>, cluster: &DataCluster) -> Option<crate::TimelineId> {
    let settled = input.local.settled.as_ref();
    let own = settled.map_or(cluster.timeline, |position| position.timeline);
    cluster.history_ahead.then_some(own)
}

fn standby(input: &Input<'_>, record: &PrimaryRecord, pinned: bool, decision: &mut Decision) {
    if record.kind != StartKind::Promotion {
        stop(input, StopMode::Fast, decision);
        return decision.is(Role::None, MemberState::Stopping, Reason::Starting);
    }
    if input.local.probe.is_none() {
        // What it holds may be known from before; a promotion needs it to answer.
        return decision.is(Role::None, MemberState::Promoting, Reason::Starting);
    }
    if input.local.settled.is_none() || input.local.upstream.is_some() {
        settle(input, decision);
    } else if has_departed(input, record) {
        stop(input, StopMode::Fast, decision);
        return decision.is(Role::None, MemberState::Stopping, Reason::Diverged);
    } else if let Data::Cluster(cluster) = &input.local.data {
        if !pinned && pin(input, cluster).is_some() {
            stop(input, StopMode::Fast, decision);
        } else {
            decision.act(Action::Assume(record.epoch));
        }
    }
    decision.is(Role::None, MemberState::Promoting, Reason::Promoting);
}

fn running(input: &Input<'_>, record: &PrimaryRecord, decision: &mut Decision) {
    let local = input.local;
    if let Some(failure) = &local.failed
        && failure.kind
            == (JobKind::Promote {
                epoch: record.epoch,
            })
    {
        decision.why.detail = Some(failure.detail.clone());
        stop(input, StopMode::Immediate, decision);
        return decision.is(Role::None, MemberState::Stopping, Reason::JobFailed);
    }
    let promoted = local
        .promoted
        .as_ref()
        .is_some_and(|(o, _)| o.epoch == record.epoch);
    if record.kind == StartKind::Promotion && !promoted {
        begin(
            input,
            JobKind::Promote {
                epoch: record.epoch,
            },
            decision,
        );
        return decision.is(Role::None, MemberState::Promoting, Reason::Promoting);
    }
    match &local.probe {
        Some(probe) if !probe.in_recovery => {
            if probe.timeline != record.timeline {
                stop(input, StopMode::Immediate, decision);
                return decision.is(Role::None, MemberState::Failed, Reason::Diverged);
            }
        }
        Some(_) | None if local.gate_open != Some(record.epoch) => {
            return decision.is(Role::None, MemberState::Starting, Reason::Starting);
        }
        // A slow answer of a primary that serves is not a death.
        Some(_) | None => {}
    }
    let handover = input
        .state
        .handover
        .as_ref()
        .filter(|h| h.epoch == record.epoch);
    match handover {
        Some(handover) if hands_over(input, handover, decision) => {}
        None if leaves_nobody(input, record, decision) => {}
        Some(_) | None => serve(input, record, decision),
    }
}

/// Stops cleanly while the lease still lasts, where this member was asked to stop and no quorum renews it
/// any more: nobody is left who could be handed over to, and at the lease's end PostgreSQL would be stopped
/// in the middle of its work. What is acknowledged until then is on this member alone.
fn leaves_nobody(input: &Input<'_>, record: &PrimaryRecord, decision: &mut Decision) -> bool {
    let Hold::Held(deadlines) = input.local.lease.hold else {
        return false;
    };
    if !input.local.shutting_down {
        return false;
    }
    // Renewals that nobody has answered for so long are no hiccup.
    let lease = input.state.settings.lease();
    let before_hold = lease.hold_after().saturating_sub(lease.lease() / 4);
    let rest = deadlines.hold.since(input.now + before_hold);
    if !rest.is_zero() && input.local.stopping.is_none() {
        decision.wake(input.now, input.now + rest);
        return false;
    }
    decision.act(Action::DrainGate(record.epoch));
    stop(input, StopMode::Fast, decision);
    decision.is(Role::Primary, MemberState::Stopping, Reason::ShuttingDown);
    true
}

fn serve(input: &Input<'_>, record: &PrimaryRecord, decision: &mut Decision) {
    let local = input.local;
    decision.is(Role::Primary, MemberState::Running, None);
    if local.stopping.is_some() {
        // An order to stop cannot be taken back.
        return stop(input, StopMode::Fast, decision);
    }
    if local.gate_open != Some(record.epoch) {
        decision.act(Action::OpenGate(record.epoch));
    }
    let Some(probe) = &local.probe else { return };
    let mut wanted: Vec<String> = input
        .state
        .data_members()
        .filter(|(name, _)| **name != input.me.name)
        .map(|(name, _)| slot_name(record.timeline, name))
        .collect();
    // `db10.x` comes after `db1.x`, and the slot of the first before that of the second.
    wanted.sort_unstable();
    let mut present: Vec<&String> = probe.slots.iter().map(|slot| &slot.name).collect();
    present.sort_unstable();
    let lost = |name: &String| {
        probe
            .slots
            .iter()
            .any(|slot| slot.lost && slot.name == *name)
    };
    if wanted.iter().any(lost) {
        // Nobody can use it again: it has to go before it can be made anew.
        let good = wanted.into_iter().filter(|name| !lost(name));
        decision.act(Action::KeepSlots(good.collect()));
    } else if present.iter().copied().ne(wanted.iter()) {
        decision.act(Action::KeepSlots(wanted));
    }
    if probe
        .checkpointed
        .is_some_and(|timeline| timeline != record.timeline)
    {
        begin(input, JobKind::Checkpoint { handover: None }, decision);
    }
}

/// Carries out a planned change of primary. False where it is too late to begin.
fn hands_over(input: &Input<'_>, handover: &Handover, decision: &mut Decision) -> bool {
    let local = input.local;
    let deadline = input.since.handover + Duration::from_millis(handover.deadline_ms);
    decision.wake(input.now, deadline);
    if local.prepared != Some(handover.index) {
        if input.now >= deadline {
            return false;
        }
        let kind = JobKind::Checkpoint {
            handover: Some(handover.index),
        };
        let other = local.job.as_ref().is_some_and(|job| job.kind != kind);
        if other {
            decision.act(Action::CancelJob);
        }
        begin(input, kind, decision);
        decision.is(Role::Primary, MemberState::Running, Reason::Handover);
        return local.gate_open == Some(handover.epoch);
    }
    if local.stopping.is_none() && input.now >= deadline {
        return false;
    }
    decision.act(Action::DrainGate(handover.epoch));
    stop(input, StopMode::Fast, decision);
    decision.is(Role::Primary, MemberState::Stopping, Reason::Handover);
    true
}

/// Ends an epoch that this process cannot serve. Its tree is empty or a standby.
fn give_up(input: &Input<'_>, record: &PrimaryRecord, why: &str, decision: &mut Decision) {
    decision.act(Action::DropLease);
    if matches!(input.local.tree, Tree::Empty) {
        decision.act(Action::Release {
            epoch: record.epoch,
            why: why.to_owned(),
        });
    }
}
