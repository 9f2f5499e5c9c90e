//! Another member is primary: follow, rewind or clone, in this order.

mod facts;
mod replace;
mod running;
mod stopped;

use crate::Reason;
use crate::decide::local::{DataCluster, JobKind};
use crate::decide::{Action, Data, Decision, Input, Tree, refuse_data};
use crate::report::{MemberState, Role};
use crate::state::PrimaryRecord;
use replace::clone;

pub(super) fn follow(input: &Input<'_>, record: &PrimaryRecord, decision: &mut Decision) {
    decision.is(Role::None, MemberState::Stopped, Reason::WaitingForPrimary);
    if input.local.lease.epoch.0 > 0 && input.local.lease.epoch < record.epoch {
        decision.act(Action::DropLease);
    }
    if is_promoting(input) {
        decision.act(Action::CancelJob);
    }
    if refuse_data(input, decision) {
        return;
    }
    match &input.local.data {
        Data::Unknown | Data::Unusable(_) => {}
        Data::Missing => clone(input, record, Reason::DataMissing, decision),
        Data::Unfinished => clone(input, record, Reason::Cloning, decision),
        Data::Cluster(cluster) => with_data(input, record, cluster, decision),
    }
}

/// A promotion for an epoch that has ended meanwhile.
fn is_promoting(input: &Input<'_>) -> bool {
    let job = input.local.job.as_ref();
    job.is_some_and(|job| matches!(job.kind, JobKind::Promote { .. }))
}

fn with_data(
    input: &Input<'_>,
    record: &PrimaryRecord,
    cluster: &DataCluster,
    decision: &mut Decision,
) {
    if input
        .state
        .system_identifier
        .is_some_and(|id| id != cluster.system_identifier)
    {
        // Made here when the cluster was young, and then another member was quicker.
        return clone(input, record, Reason::DataMissing, decision);
    }
    match &input.local.tree {
        Tree::Unknown | Tree::Primary { .. } => {}
        Tree::Empty => stopped::stopped(input, record, decision),
        Tree::Standby { .. } => running::running(input, record, decision),
    }
}
