//! What the raft leader proposes.

mod ended;
mod first;
mod handover;
mod leadership;
mod reports;
mod watch;

use std::time::Duration;

use crate::decide::{Action, Decision, Input, elect};
use crate::{Command, Phase};

pub(super) use reports::Reports;

/// Leadership is not moved before a primary has served this long, nor tried again sooner.
const TRANSFER_PAUSE: Duration = Duration::from_secs(3);

/// Proposes, if this member leads a group whose quorum answers.
pub(super) fn plan(input: &Input<'_>, decision: &mut Decision) {
    if !input.raft.leads || !input.state.is_created() {
        return;
    }
    let reports = Reports::of(input, decision);
    match &input.state.phase {
        Phase::Empty => first::bootstrap(input, &reports, None, decision),
        Phase::Bootstrap { node } => first::initial(input, &reports, node, decision),
        Phase::Revoked(revoked) => elect::elect(input, &reports, revoked, decision),
        Phase::Primary(record) => watch::watch(input, &reports, record, decision),
    }
}

pub(super) fn propose(command: Command, decision: &mut Decision) {
    decision.act(Action::Propose(Box::new(command)));
}
