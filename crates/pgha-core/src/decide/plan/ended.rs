//! Whether a primary's epoch has to end.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Reports;
use crate::decide::input::step;
use crate::decide::{Decision, Input};
use crate::journal::{Cause, Step};
use crate::report::{MemberReport, Role};
use crate::settings::OnPrimaryCrash;
use crate::state::PrimaryRecord;
use crate::{Lsn, MemberName, StartKind};

/// A replica that lives and holds its lease may take this long to open.
const OPENING_MAX: Duration = Duration::from_secs(60);
/// A restart in place as well, where a replica may go on instead. It loses nothing, but crash recovery on
/// a disk that stands still ends never.
const RESTART_MAX: Duration = Duration::from_secs(120);

/// Whether the epoch has to end, and why.
pub(super) fn ended(
    input: &Input<'_>,
    reports: &Reports<'_>,
    record: &PrimaryRecord,
    decision: &mut Decision,
) -> Option<(Cause, Vec<Step>)> {
    if let Some(note) = reports.released(record.epoch) {
        // Only a clean stop is what was planned; a death on the way is a failover.
        let planned = input.state.handover.is_some() && note.shutdown_lsn.is_some();
        let cause = if planned {
            Cause::Switchover
        } else {
            Cause::Released {
                why: note.why.clone(),
            }
        };
        return Some((cause, note.steps.clone()));
    }
    if input.state.paused {
        return None;
    }
    let restarted = reports
        .fresh(&record.node)
        .is_some_and(|report| report.nonce != record.nonce);
    if restarted {
        return Some((Cause::HolderRestarted, vec![step("seen", 0)]));
    }
    if let Some(reporters) = silence(input, reports, record, decision) {
        let ms = input.state.settings.lease().silent_after().as_millis();
        let seen = step("seen", u64::try_from(ms).unwrap_or(u64::MAX));
        return Some((Cause::Expired { reporters }, vec![seen]));
    }
    let may_take = match record.kind {
        _ if record.opened => None,
        StartKind::Promotion => Some(OPENING_MAX),
        StartKind::Restart => a_replica_may(input, reports, record).then_some(RESTART_MAX),
        StartKind::Initial | StartKind::Reinstatement => None,
    }?;
    let overdue = input.since.phase + may_take;
    decision.wake(input.now, overdue);
    let why = format!("{} did not open within {may_take:?}", record.node);
    let cause = Cause::PromotionFailed { why };
    (input.now >= overdue).then(|| (cause, vec![step("seen", 0)]))
}

/// Whether somebody could be promoted instead. Where nobody can, to end the epoch would only begin crash
/// recovery anew, again and again.
fn a_replica_may(input: &Input<'_>, reports: &Reports<'_>, record: &PrimaryRecord) -> bool {
    let settings = &input.state.settings;
    let known_end = record.lsn.max(record.known_end);
    let near = |end: Lsn| end.bytes_behind(known_end) <= settings.max_lag_on_failover;
    let fit = |report: &MemberReport| {
        report.role == Role::Replica
            && report.timeline == Some(record.timeline)
            && report.received.is_some_and(near)
    };
    settings.on_primary_crash != OnPrimaryCrash::Restart
        && input
            .state
            .data_members()
            .filter(|(name, member)| **name != record.node && !member.excluded)
            .any(|(name, _)| reports.fresh(name).is_some_and(fit))
}

/// The voters that heard nothing for too long, where they are a quorum. A leader that has not heard
/// of a voter does not know; it never takes that for an expiry (P11).
fn silence(
    input: &Input<'_>,
    reports: &Reports<'_>,
    record: &PrimaryRecord,
    decision: &mut Decision,
) -> Option<Vec<MemberName>> {
    if let Some(at) = input.local.grant.silent_at
        && input.now < at
    {
        decision.wake(input.now, at);
    }
    let says_so: BTreeMap<_, _> = input
        .raft
        .voters
        .iter()
        .filter(|(_, name)| {
            reports
                .fresh(name)
                .is_some_and(|report| report.grant.epoch == record.epoch && report.grant.silent)
        })
        .collect();
    input
        .raft
        .quorums
        .reached(|id| says_so.contains_key(&id))
        .then(|| says_so.into_values().cloned().collect())
}
