//! While there is a primary: the end of its epoch, its opening, what came to light since.

use super::ended::ended;
use super::handover::handover;
use super::leadership::transfer_leadership;
use super::{Reports, propose};
use crate::command::Revoke;
use crate::decide::{Decision, Input};
use crate::state::PrimaryRecord;
use crate::{Command, Reason};

pub(super) fn watch(
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

/// Somebody is back and has said what is lost with it.
fn lost(input: &Input<'_>, reports: &Reports<'_>, decision: &mut Decision) {
    let mut told = reports.all_fresh().filter_map(|report| {
        let (epoch, range) = report.lost?;
        let by = report.name.clone();
        Some(Command::Lost { epoch, range, by })
            .filter(|_| !input.state.has_journaled(epoch, &range, &report.name))
    });
    if let Some(command) = told.next() {
        propose(command, decision);
    }
}
