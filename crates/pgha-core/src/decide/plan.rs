//! What the raft leader proposes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::input::step;
use super::{Action, Decision, Input, elect, tell};
use crate::command::{Primary, Revoke};
use crate::journal::{Cause, Step};
use crate::report::{MemberReport, ReleaseNote};
use crate::state::PrimaryRecord;
use crate::{Command, Epoch, Lsn, MemberName, Mono, Phase, Reason, StartKind, TimelineId};

/// A named primary that lives and holds its lease may take this long to open.
const OPENING_MAX: Duration = Duration::from_secs(60);
/// A member that was to make the first data directory and is not heard of loses the order.
const BOOTSTRAP_PATIENCE: Duration = Duration::from_secs(10);
/// How long a handover may take that nobody asked for with a deadline.
const SHUTDOWN_HANDOVER_MS: u64 = 20_000;
/// Leadership is not moved before a primary has served this long, nor tried again sooner.
const TRANSFER_PAUSE: Duration = Duration::from_secs(3);

/// Proposes, if this member leads a group whose quorum answers.
pub(super) fn plan(input: &Input<'_>, decision: &mut Decision) {
    if !input.raft.leads || !input.state.is_created() {
        return;
    }
    let reports = Reports::of(input, decision);
    match &input.state.phase {
        Phase::Empty => bootstrap(input, &reports, None, decision),
        Phase::Bootstrap { node } => initial(input, &reports, node, decision),
        Phase::Revoked(revoked) => elect::elect(input, &reports, revoked, decision),
        Phase::Primary(record) => watch(input, &reports, record, decision),
    }
}

/// Every member's newest report with its age, this member's own made on the spot.
pub(super) struct Reports<'a> {
    own: Option<MemberReport>,
    input: &'a Input<'a>,
}

impl<'a> Reports<'a> {
    fn of(input: &'a Input<'a>, decision: &Decision) -> Self {
        Self {
            own: tell::report(input, &decision.why),
            input,
        }
    }

    /// The report of `name` if it was heard within half a lease and does not refuse connections.
    pub(super) fn fresh(&self, name: &MemberName) -> Option<&MemberReport> {
        if *name == self.input.me.name {
            return self.own.as_ref();
        }
        let heard = self.input.peers.get(name)?;
        let recent = self.input.now < heard.at + self.input.state.settings.lease().lease() / 2;
        (recent && heard.refused_at.is_none_or(|at| at < heard.at)).then_some(&heard.report)
    }

    /// The fresh report of every member of the cluster that has one.
    pub(super) fn all_fresh(&self) -> impl Iterator<Item = &MemberReport> {
        self.input
            .state
            .members
            .keys()
            .filter_map(|name| self.fresh(name))
    }

    /// The release of `epoch`, by whomever it was verified.
    pub(super) fn released(&self, epoch: Epoch) -> Option<&ReleaseNote> {
        let of = |report: &'a MemberReport| {
            (report.grant.epoch == epoch)
                .then_some(report.grant.released.as_ref())
                .flatten()
        };
        let heard = self
            .input
            .peers
            .values()
            .filter_map(|heard| of(&heard.report))
            .next();
        let own = self.own.as_ref().filter(|own| own.grant.epoch == epoch);
        own.and_then(|own| own.grant.released.as_ref()).or(heard)
    }

    /// The highest flush position that a holder of `epoch` told anybody.
    pub(super) fn flush_lsn(&self, epoch: Epoch) -> Option<Lsn> {
        let peers = self.input.peers.values().map(|heard| &heard.report);
        peers
            .chain(self.own.as_ref())
            .filter(|report| report.grant.epoch == epoch)
            .filter_map(|report| report.grant.flush_lsn)
            .max()
    }

    /// Every timeline that anybody is on.
    pub(super) fn timelines(&self) -> impl Iterator<Item = TimelineId> {
        let peers = self.input.peers.values().map(|heard| &heard.report);
        peers.chain(self.own.as_ref()).flat_map(|report| {
            report
                .timeline
                .into_iter()
                .chain(report.standing.as_ref().map(|s| s.position.timeline))
        })
    }
}

fn bootstrap(
    input: &Input<'_>,
    reports: &Reports<'_>,
    not: Option<&MemberName>,
    decision: &mut Decision,
) {
    let first = input
        .state
        .data_members()
        .map(|(name, _)| name)
        .find(|name| Some(*name) != not && reports.fresh(name).is_some());
    if let Some(node) = first {
        propose(
            Command::Bootstrap {
                expected: input.state.epoch,
                node: node.clone(),
            },
            decision,
        );
    } else {
        let text = "no data member answers yet".to_owned();
        decision.why.cluster = Some((Reason::NoCandidate, text));
    }
}

fn initial(input: &Input<'_>, reports: &Reports<'_>, node: &MemberName, decision: &mut Decision) {
    let Some(report) = reports.fresh(node) else {
        let overdue = input.since.phase + BOOTSTRAP_PATIENCE;
        decision.wake(input.now, overdue);
        if input.now >= overdue {
            bootstrap(input, reports, Some(node), decision);
        }
        return;
    };
    let Some(system_identifier) = report.system_identifier else {
        let text = format!("{node} is making the first data directory");
        decision.why.cluster = Some((Reason::Initializing, text));
        return;
    };
    let primary = Primary {
        epoch: input.state.epoch,
        node: node.clone(),
        nonce: report.nonce,
        kind: StartKind::Initial,
        timeline: TimelineId(1),
        parent: TimelineId(1),
        lsn: Lsn::ZERO,
        fork_id: None,
        system_identifier: Some(system_identifier),
        at: input.fresh.at.clone(),
        evidence: Vec::new(),
        lost: None,
        steps: Vec::new(),
    };
    propose(Command::Primary(primary), decision);
}

fn watch(
    input: &Input<'_>,
    reports: &Reports<'_>,
    record: &PrimaryRecord,
    decision: &mut Decision,
) {
    if let Some((cause, steps)) = ended(input, reports, record, decision) {
        let revoke = Revoke {
            expected: record.epoch,
            cause,
            leader: input.me.name.clone(),
            at: input.fresh.at.clone(),
            steps,
        };
        return propose(Command::Revoke(revoke), decision);
    }
    let holder = reports
        .fresh(&record.node)
        .filter(|report| report.nonce == record.nonce);
    if !record.opened {
        let opened = holder
            .and_then(|r| r.opened.clone())
            .filter(|o| o.epoch == record.epoch);
        if let Some(opened) = opened {
            return propose(Command::Opened(opened), decision);
        }
        let text = format!(
            "{} is becoming primary of epoch {}",
            record.node, record.epoch
        );
        decision.why.cluster = Some((Reason::Promoting, text));
        return;
    }
    lost(input, reports, decision);
    handover(input, record, holder, decision);
    transfer_leadership(input, reports, record, decision);
}

/// Whether the epoch has to end, and why.
fn ended(
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
    let overdue = input.since.phase + OPENING_MAX;
    if !record.opened && record.kind == StartKind::Promotion {
        decision.wake(input.now, overdue);
        if input.now >= overdue {
            let why = format!("{} did not open within {OPENING_MAX:?}", record.node);
            return Some((Cause::PromotionFailed { why }, vec![step("seen", 0)]));
        }
    }
    None
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

/// The old primary is back and has said what was lost with it.
fn lost(input: &Input<'_>, reports: &Reports<'_>, decision: &mut Decision) {
    let found = reports
        .all_fresh()
        .filter_map(|report| report.lost)
        .find(|(epoch, range)| {
            input.state.journal.iter().any(|entry| {
                entry.epoch == *epoch && entry.lost.is_none_or(|known| !known.is_final) && {
                    range.bytes() > 0 || entry.lost.is_some()
                }
            })
        });
    if let Some((epoch, range)) = found {
        propose(Command::Lost { epoch, range }, decision);
    }
}

fn handover(
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

/// Losing the leader and the primary together costs an election on top of the lease: keep them apart.
fn transfer_leadership(
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

pub(super) fn propose(command: Command, decision: &mut Decision) {
    decision.act(Action::Propose(Box::new(command)));
}
