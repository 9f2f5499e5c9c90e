//! The entry that names the primary, with its evidence.

use super::super::input::step;
use super::super::plan::Reports;
use super::Input;
use super::candidate::Candidate;
use super::lag::{has, known_end};
use crate::StartKind;
use crate::command::Primary;
use crate::journal::{Evidence, LostRange, Step};
use crate::state::Revoked;

pub(super) fn entry(
    input: &Input<'_>,
    reports: &Reports<'_>,
    revoked: &Revoked,
    candidates: &[Candidate<'_>],
    chosen: &Candidate<'_>,
) -> Primary {
    let standing = chosen.standing;
    let own = standing.position.timeline;
    let kind = match (standing.former_primary, standing.running) {
        (true, true) => StartKind::Reinstatement,
        (true, false) => StartKind::Restart,
        (false, _) => StartKind::Promotion,
    };
    let promoted = kind == StartKind::Promotion;
    let end = standing.position.end;
    let known_end = known_end(reports, revoked).lsn;
    let lost = LostRange {
        from: has(input, revoked, &standing.position),
        to: known_end,
        is_final: false,
    };
    // What an operator gave up is not asked for again.
    let accepted = revoked.cause.accepts_loss_for() == Some(&chosen.report.name);
    Primary {
        epoch: input.state.epoch,
        node: chosen.report.name.clone(),
        nonce: chosen.report.nonce,
        kind,
        timeline: if promoted {
            input.state.lineage.next(reports.timelines())
        } else {
            own
        },
        parent: own,
        lsn: end,
        known_end: if accepted { end } else { known_end },
        fork_id: promoted.then(|| input.fresh.fork_id.clone()),
        system_identifier: None,
        at: input.fresh.at.clone(),
        evidence: candidates.iter().map(evidence).collect(),
        lost: (promoted && lost.bytes() > 0).then_some(lost),
        steps: steps(input),
    }
}

fn evidence(candidate: &Candidate<'_>) -> Evidence {
    Evidence {
        member: candidate.report.name.clone(),
        timeline: candidate.standing.position.timeline,
        end_of_wal: candidate.standing.position.end,
        former_primary: candidate.standing.former_primary,
        refused: candidate.refused.clone(),
    }
}

/// The Revoke's steps, then how long it took to commit and until the reports were in.
fn steps(input: &Input<'_>) -> Vec<Step> {
    let entry = input
        .state
        .journal
        .iter()
        .rev()
        .find(|entry| entry.epoch == input.state.epoch);
    let mut steps = entry.map(|entry| entry.steps.clone()).unwrap_or_default();
    let before = steps.iter().map(|s| s.ms).max().unwrap_or(0);
    let span = |from: crate::Mono, to: crate::Mono| {
        u64::try_from(to.since(from).as_millis()).unwrap_or(u64::MAX)
    };
    let revoked = before
        + input
            .since
            .proposed
            .map_or(0, |at| span(at, input.since.epoch));
    steps.push(step("revoked", revoked));
    steps.push(step(
        "reported",
        revoked + span(input.since.epoch, input.now),
    ));
    steps
}
