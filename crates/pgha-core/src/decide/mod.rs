//! The one decision function: the same in the daemon, in the simulator and in the tests.
//!
//! Fencing comes first and from local facts alone, so it works without a quorum. Then every member
//! reconciles its PostgreSQL with the replicated state, and the raft leader plans what to propose.

mod action;
mod bootstrap;
mod elect;
mod fence;
mod follow;
mod input;
mod local;
mod plan;
mod primary;
mod replacing;
mod revoked;
mod seen;
mod tell;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use action::{Action, Decision, Why};
pub use input::{Fresh, Heard, Input, Me, RaftView, Since};
pub use local::{
    Data, DataCluster, Failures, Job, JobFailure, JobKind, LeaseView, Local, LocalGrant, Probe,
    Releasable, StopMode, Tree, Upstream,
};
pub use seen::JobDone;
pub use tell::{report, standing};

use crate::report::{MemberState, Role};
use crate::state::PrimaryRecord;
use crate::{MemberKind, MemberName, Mono, Phase, Reason, TimelineId};

/// Without any event, look again after this long.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// A fast stop that takes longer becomes an immediate one.
const FAST_STOP_MAX: Duration = Duration::from_secs(5);
/// An immediate stop that takes longer becomes a kill.
const IMMEDIATE_STOP_MAX: Duration = Duration::from_millis(500);
/// The longest pause between two tries of something that fails.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Decides what this member does now, and why.
pub fn decide(input: &Input<'_>) -> Decision {
    let mut decision = Decision::idle(input.now + HOUSEKEEPING);
    if input.state.epoch > input.local.adopted {
        decision.act(Action::Adopt(input.state.epoch));
    }
    if input.me.kind == MemberKind::Witness {
        decision.is(Role::Witness, MemberState::Running, None);
    } else if !fence::fence(input, &mut decision) {
        reconcile(input, &mut decision);
    }
    plan::plan(input, &mut decision);
    decision
}

/// The slot of `member` on the primary of `timeline`: a primary of the past has none for the
/// present.
pub fn slot_name(timeline: TimelineId, member: &MemberName) -> String {
    // A slot's name has lower-case letters, digits and `_` only (manual, 27.2.6).
    let safe: String = member
        .as_str()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .collect();
    format!("pgha_t{timeline}_{safe}")
}

fn reconcile(input: &Input<'_>, decision: &mut Decision) {
    if input.local.shutting_down && stops(input, decision) {
        return;
    }
    if replacing::replacing(input, decision) {
        return;
    }
    match &input.state.phase {
        Phase::Empty => decision.is(Role::None, MemberState::Starting, Reason::Forming),
        Phase::Bootstrap { node } => bootstrap::bootstrap(input, node, decision),
        Phase::Revoked(revoked) => revoked::revoked(input, revoked, decision),
        Phase::Primary(record) if is_mine(input, record) => {
            primary::primary(input, record, decision);
        }
        Phase::Primary(record) if record.node == input.me.name => {
            revoked::former_life(input, decision);
        }
        Phase::Primary(record) => follow::follow(input, record, decision),
    }
}

/// Whether this very process may be the primary of `record`. An entry that names an earlier process
/// of this member is nobody's any more.
fn is_mine(input: &Input<'_>, record: &PrimaryRecord) -> bool {
    record.node == input.me.name && record.nonce == input.me.nonce
}

/// Leaves data alone that is not this cluster's, whatever the phase: even a start as a standby would
/// write into it. True where it is such data.
fn refuse_data(input: &Input<'_>, decision: &mut Decision) -> bool {
    let reason = match &input.local.data {
        Data::Unusable(reason) => *reason,
        Data::Cluster(cluster) if is_foreign(input, cluster) => {
            let mine = input.state.system_identifier.unwrap_or_default();
            decision.why.detail = Some(format!(
                "its system identifier is {}, the cluster's is {mine}",
                cluster.system_identifier
            ));
            Reason::DataForeign
        }
        Data::Unknown | Data::Missing | Data::Unfinished | Data::Cluster(_) => return false,
    };
    match input.local.tree {
        Tree::Standby { .. } => stop(input, StopMode::Fast, decision),
        Tree::Primary { .. } | Tree::Unknown | Tree::Empty => {}
    }
    decision.is(Role::None, MemberState::Failed, reason);
    true
}

/// What was made here when the cluster was young is not foreign, though of no use.
fn is_foreign(input: &Input<'_>, cluster: &DataCluster) -> bool {
    let mine = input.state.system_identifier;
    !cluster.never_served && mine.is_some_and(|mine| mine != cluster.system_identifier)
}

/// Stops a PostgreSQL that is not the primary; a primary hands over first.
fn stops(input: &Input<'_>, decision: &mut Decision) -> bool {
    match input.local.tree {
        Tree::Primary { .. } => return false,
        Tree::Standby { .. } => {
            if input.local.job.is_some() {
                decision.act(Action::CancelJob);
            }
            stop(input, StopMode::Fast, decision);
            decision.is(Role::None, MemberState::Stopping, Reason::ShuttingDown);
        }
        Tree::Unknown | Tree::Empty => {
            // What was there stays untouched by it. A rewind half way would leave nothing to start from.
            let copying = |job: &&Job| matches!(job.kind, JobKind::Clone { .. }) && !job.cancelled;
            if input.local.replacing().filter(copying).is_some() {
                decision.act(Action::CancelJob);
            }
            decision.is(Role::None, MemberState::Stopped, Reason::ShuttingDown);
        }
    }
    true
}

/// Orders a stop, and a harder one where the last has taken too long.
fn stop(input: &Input<'_>, mode: StopMode, decision: &mut Decision) {
    let mut mode = mode;
    if let Some((ordered, at)) = input.local.stopping {
        let (harder, patience) = match ordered {
            StopMode::Fast => (StopMode::Immediate, FAST_STOP_MAX),
            StopMode::Immediate => (StopMode::Kill, IMMEDIATE_STOP_MAX),
            StopMode::Kill => (StopMode::Kill, IMMEDIATE_STOP_MAX),
        };
        let overdue = input.now >= at + patience;
        mode = mode.max(if overdue { harder } else { ordered });
        decision.wake(input.now, at + patience);
    }
    decision.act(Action::Stop(mode));
}

/// Begins a job unless one runs or the same one failed a moment ago. Another job is ended first
/// where this one must not wait for it.
fn begin(input: &Input<'_>, kind: JobKind, decision: &mut Decision) {
    if let Some(job) = &input.local.job {
        if job.kind != kind && kind == JobKind::Settle {
            decision.act(Action::CancelJob);
        }
        return;
    }
    if let Some(failure) = &input.local.failed
        && failure.kind == kind
        && input.now < failure.at + backoff(failure.count)
    {
        decision.wake(input.now, failure.at + backoff(failure.count));
        decision.why.reason = Some(Reason::JobFailed);
        decision.why.detail = Some(failure.detail.clone());
        return;
    }
    decision.act(Action::Begin(kind));
}

/// Starts PostgreSQL as a standby without upstream, unless that failed a moment ago.
fn start_standby(input: &Input<'_>, pinned: Option<TimelineId>, decision: &mut Decision) {
    let made_in_vain = |data: &DataCluster| {
        let mine = input.state.system_identifier;
        mine.is_some_and(|mine| mine != data.system_identifier)
    };
    if matches!(&input.local.data, Data::Cluster(data) if made_in_vain(data)) {
        // Another member's first data was quicker: this will be cloned, and is nothing to serve until then.
        return decision.is(Role::None, MemberState::Stopped, Reason::WaitingForPrimary);
    }
    if let Some(until) = start_pause(input) {
        decision.wake(input.now, until);
        decision.why.reason = Some(Reason::StartFailed);
        decision.why.detail = Some(input.local.start_failures.detail.clone());
        return;
    }
    decision.act(Action::StartStandby { pinned });
}

/// Until when the next start of PostgreSQL waits, as the last ones failed.
fn start_pause(input: &Input<'_>) -> Option<Mono> {
    let failures = &input.local.start_failures;
    let until = failures.at + backoff(failures.count);
    (failures.count > 0 && input.now < until).then_some(until)
}

fn backoff(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(6);
    (Duration::from_millis(500) * (1 << doublings)).min(BACKOFF_MAX)
}
