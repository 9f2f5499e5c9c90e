//! The first data directory of a cluster and its first primary.

use std::time::Duration;

use super::{Reports, propose};
use crate::command::Primary;
use crate::decide::{Decision, Input};
use crate::{Command, MemberName, Reason};

/// A member that was to make the first data directory and is not heard of loses the order.
const BOOTSTRAP_PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn bootstrap(
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

pub(super) fn initial(
    input: &Input<'_>,
    reports: &Reports<'_>,
    node: &MemberName,
    decision: &mut Decision,
) {
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
    let at = input.fresh.at.clone();
    let epoch = input.state.epoch;
    let primary = Primary::initial(epoch, node.clone(), report.nonce, system_identifier, at);
    propose(Command::Primary(primary), decision);
}
