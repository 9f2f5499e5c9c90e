//! Another member is primary: follow, rewind or clone, in this order.

use std::time::Duration;

use super::local::{DataCluster, JobKind, StopMode, Upstream};
use super::revoked::settle;
use super::{
    Action, Data, Decision, Input, Tree, begin, refuse_data, slot_name, start_pause, start_standby,
    stop, tell,
};
use crate::lineage::{Position, Verdict};
use crate::report::{MemberReport, MemberState, Role};
use crate::state::PrimaryRecord;
use crate::{MemberName, Reason};

/// A receiver that does not stream for this long is looked into.
const DETACHED_MAX: Duration = Duration::from_secs(15);
/// Where the primary's slot keeps less than is needed, following is tried for this long all the same:
/// longer than `DETACHED_MAX`, so that it was tried once.
const ATTACH_PATIENCE: Duration = Duration::from_secs(30);
/// Looks at rewound data that fail in a row, as it does not get consistent, before it is cloned anew:
/// the WAL that it needs may be gone everywhere.
const INCONSISTENT_MAX: u32 = 3;
/// Starts that fail in a row before the data is cloned anew.
const START_FAILURES_MAX: u32 = 3;
/// Rewinds that fail in a row before the data is cloned anew.
const REWIND_FAILURES_MAX: u32 = 2;
/// Without a quorum, an empty tree waits this long for one before it starts to serve reads.
const QUORUM_PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn follow(input: &Input<'_>, record: &PrimaryRecord, decision: &mut Decision) {
    decision.is(Role::None, MemberState::Stopped, Reason::WaitingForPrimary);
    if input.local.lease.epoch.0 > 0 && input.local.lease.epoch < record.epoch {
        decision.act(Action::DropLease);
    }
    if abandoned_job(input, record) {
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

/// A copy or rewind from a source that the cluster has moved away from.
fn abandoned_job(input: &Input<'_>, record: &PrimaryRecord) -> bool {
    match input.local.job.as_ref().map(|job| &job.kind) {
        Some(JobKind::Clone { epoch, .. } | JobKind::Rewind { epoch, .. }) => {
            *epoch != record.epoch
        }
        Some(JobKind::Promote { .. }) => true,
        Some(JobKind::Initialize | JobKind::Settle | JobKind::Checkpoint { .. }) | None => false,
    }
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
        Tree::Empty => stopped(input, record, decision),
        Tree::Standby { .. } => running(input, record, decision),
    }
}

fn stopped(input: &Input<'_>, record: &PrimaryRecord, decision: &mut Decision) {
    if !input.raft.quorum && input.now < input.since.phase + QUORUM_PATIENCE {
        return decision.wake(input.now, input.since.phase + QUORUM_PATIENCE);
    }
    if input.raft.quorum && input.local.start_failures.count >= START_FAILURES_MAX {
        return clone(input, record, Reason::StartFailed, decision);
    }
    if input.raft.quorum && never_gets_consistent(input) {
        return clone(input, record, Reason::NotStreaming, decision);
    }
    if let Some(epoch) = input.local.rewound.filter(|_| input.raft.quorum) {
        return start_rewound(input, record, epoch, decision);
    }
    let verdict = input
        .local
        .settled
        .as_ref()
        .map(|p| judge(input, record, p));
    match verdict {
        Some(Verdict::Diverged { .. }) if !journaled(input) => {
            decision.is(Role::None, MemberState::Stopped, Reason::Diverged);
        }
        Some(Verdict::Diverged { .. }) if input.raft.quorum => rewind(input, record, decision),
        Some(Verdict::Impostor { why }) if input.raft.quorum => {
            clone(input, record, Reason::Diverged, decision);
            decision.why.detail.get_or_insert(why);
        }
        Some(Verdict::OnLine) if input.raft.quorum && is_cut_off(input, record) => {
            clone(input, record, Reason::NotStreaming, decision);
        }
        Some(_) | None => {
            decision.is(Role::None, MemberState::Starting, Reason::Starting);
            start_standby(input, None, decision);
        }
    }
}

/// Rewound data is the primary's up to the end of the rewind, and consistent once it has replayed
/// that far: the rest of the WAL comes from that primary only. Where that is not the primary any
/// more, nobody can tell where to go on.
fn start_rewound(
    input: &Input<'_>,
    record: &PrimaryRecord,
    epoch: crate::Epoch,
    decision: &mut Decision,
) {
    let upstream = wanted(input, record).filter(|_| epoch == record.epoch && record.opened);
    let Some(upstream) = upstream else {
        return clone(input, record, Reason::Diverged, decision);
    };
    decision.is(Role::None, MemberState::Starting, Reason::Starting);
    match start_pause(input) {
        Some(until) => decision.wake(input.now, until),
        None => decision.act(Action::StartAttached(upstream)),
    }
}

fn running(input: &Input<'_>, record: &PrimaryRecord, decision: &mut Decision) {
    if input
        .local
        .rewound
        .is_some_and(|epoch| epoch != record.epoch)
        && record.opened
    {
        stop(input, StopMode::Immediate, decision);
        return decision.is(Role::None, MemberState::Stopping, Reason::Diverged);
    }
    let upstream = wanted(input, record);
    if input.local.upstream.is_some() && input.local.upstream == upstream {
        return attached(input, decision);
    }
    let Some(position) = input
        .local
        .settled
        .as_ref()
        .filter(|_| input.local.upstream.is_none())
    else {
        return settle(input, decision);
    };
    if !input.raft.quorum {
        return decision.is(Role::Replica, MemberState::Fenced, Reason::NoQuorum);
    }
    match judge(input, record, position) {
        Verdict::OnLine if is_cut_off(input, record) => {
            stop(input, StopMode::Fast, decision);
            decision.is(Role::None, MemberState::Stopping, Reason::NotStreaming);
        }
        Verdict::OnLine if record.opened => {
            decision.is(Role::Replica, MemberState::Starting, None);
            if let Some(upstream) = upstream {
                decision.act(Action::Follow(upstream));
            }
        }
        Verdict::OnLine => {
            decision.is(
                Role::Replica,
                MemberState::Fenced,
                Reason::WaitingForPrimary,
            );
        }
        Verdict::Diverged { .. } if !may_rewind(input, record) => {
            decision.is(
                Role::Replica,
                MemberState::Fenced,
                Reason::WaitingForCheckpoint,
            );
        }
        Verdict::Diverged { .. } if !journaled(input) => {
            decision.is(Role::Replica, MemberState::Fenced, Reason::Diverged);
        }
        Verdict::Diverged { .. } | Verdict::Impostor { .. } if record.opened => {
            stop(input, StopMode::Fast, decision);
            decision.is(Role::None, MemberState::Stopping, Reason::Diverged);
        }
        Verdict::Diverged { .. } | Verdict::Impostor { .. } => {
            decision.is(Role::Replica, MemberState::Fenced, Reason::Diverged);
        }
    }
}

fn attached(input: &Input<'_>, decision: &mut Decision) {
    let Some(since) = input.local.detached_since else {
        return decision.is(Role::Replica, MemberState::Streaming, None);
    };
    decision.is(Role::Replica, MemberState::Starting, Reason::NotStreaming);
    if !input.raft.quorum && input.local.probe.is_some() {
        // Nobody can become primary meanwhile; what is here serves reads.
        decision.is(Role::Replica, MemberState::Fenced, Reason::NoQuorum);
    }
    let overdue = since + DETACHED_MAX;
    if input.now < overdue || !input.raft.quorum {
        return decision.wake(input.now, overdue);
    }
    if never_gets_consistent(input) {
        stop(input, StopMode::Immediate, decision);
        return decision.is(Role::None, MemberState::Stopping, Reason::NotStreaming);
    }
    // Look at the data once more; what is found decides the next step of the ladder.
    begin(input, JobKind::Settle, decision);
}

fn never_gets_consistent(input: &Input<'_>) -> bool {
    input.local.rewound.is_some()
        && input.local.failed.as_ref().is_some_and(|failure| {
            failure.kind == JobKind::Settle && failure.count >= INCONSISTENT_MAX
        })
}

fn is_cut_off(input: &Input<'_>, record: &PrimaryRecord) -> bool {
    let settled = input.local.settled.as_ref();
    record.opened && settled.is_some_and(|position| wal_is_gone(input, record, position))
}

/// The primary no longer has the WAL that comes next after `position`: the slot says so, or it keeps
/// WAL only from further on and enough time was given to find out whether there is more.
fn wal_is_gone(input: &Input<'_>, record: &PrimaryRecord, position: &Position) -> bool {
    let own = slot_name(record.timeline, &input.me.name);
    let tried = input.now >= input.since.phase + ATTACH_PATIENCE;
    let ahead = |kept: crate::Lsn| kept > position.end;
    primary_report(input, record).is_some_and(|report| {
        report
            .slots
            .iter()
            .filter(|slot| slot.name == own)
            .any(|slot| slot.lost || (tried && slot.restart_lsn.is_some_and(ahead)))
    })
}

fn rewind(input: &Input<'_>, record: &PrimaryRecord, decision: &mut Decision) {
    let failed = input.local.failed.as_ref().is_some_and(|failure| {
        matches!(failure.kind, JobKind::Rewind { .. }) && failure.count >= REWIND_FAILURES_MAX
    });
    if failed {
        return clone(input, record, Reason::Diverged, decision);
    }
    decision.is(Role::None, MemberState::Rewinding, Reason::Rewinding);
    if may_rewind(input, record) {
        let kind = JobKind::Rewind {
            from: record.node.clone(),
            epoch: record.epoch,
        };
        begin(input, kind, decision);
        progress(input, decision);
    } else {
        decision.is(
            Role::None,
            MemberState::Stopped,
            Reason::WaitingForCheckpoint,
        );
    }
}

fn clone(input: &Input<'_>, record: &PrimaryRecord, why: Reason, decision: &mut Decision) {
    if !matches!(input.local.tree, Tree::Empty) {
        stop(input, StopMode::Fast, decision);
        return decision.is(Role::None, MemberState::Stopping, why);
    }
    if !input.raft.quorum {
        return decision.is(Role::None, MemberState::Stopped, Reason::NoQuorum);
    }
    let begun = matches!(
        input.local.job.as_ref().map(|job| &job.kind),
        Some(JobKind::Clone { .. })
    );
    if !record.opened || (!begun && primary_report(input, record).is_none()) {
        return decision.is(Role::None, MemberState::Stopped, Reason::WaitingForPrimary);
    }
    decision.is(Role::None, MemberState::Cloning, Reason::Cloning);
    let from = clone_source(input, record);
    begin(
        input,
        JobKind::Clone {
            from,
            epoch: record.epoch,
        },
        decision,
    );
    progress(input, decision);
}

/// A replica that streams, so that the primary is spared; the primary after a failure.
fn clone_source(input: &Input<'_>, record: &PrimaryRecord) -> MemberName {
    if let Some(job) = &input.local.job
        && let JobKind::Clone { from, .. } = &job.kind
    {
        return from.clone();
    }
    let failed = input
        .local
        .failed
        .as_ref()
        .is_some_and(|failure| matches!(failure.kind, JobKind::Clone { .. }));
    let good = |report: &MemberReport| {
        report.state == MemberState::Streaming && report.timeline == Some(record.timeline)
    };
    input
        .peers
        .values()
        .find(|heard| !failed && heard.refused_at.is_none() && good(&heard.report))
        .map_or_else(|| record.node.clone(), |heard| heard.report.name.clone())
}

fn progress(input: &Input<'_>, decision: &mut Decision) {
    if let Some(job) = &input.local.job {
        decision.why.detail.clone_from(&job.progress);
    }
}

fn judge(input: &Input<'_>, record: &PrimaryRecord, position: &Position) -> Verdict {
    input.state.lineage.judge(position, record.timeline)
}

/// Whether the journal has what this data will be rid of: a crash on the way would leave nobody who
/// knows (P3).
fn journaled(input: &Input<'_>) -> bool {
    let Some((epoch, _)) = tell::about_to_be_lost(input) else {
        return true;
    };
    let entry = input.state.journal.iter().find(|e| e.epoch == epoch);
    entry.is_none_or(|entry| entry.lost.is_some_and(|lost| lost.is_final))
}

/// Before its first checkpoint the primary's control file still names its old timeline, and a
/// rewind would find nothing to do (faults M4).
fn may_rewind(input: &Input<'_>, record: &PrimaryRecord) -> bool {
    record.opened
        && primary_report(input, record)
            .is_some_and(|report| report.checkpointed == Some(record.timeline))
}

/// What the primary says, while it is heard and serves: for one that may be gone no data is touched,
/// it may be the last that there is.
fn primary_report<'a>(input: &'a Input<'_>, record: &PrimaryRecord) -> Option<&'a MemberReport> {
    let heard = input.peers.get(&record.node)?;
    let recent = input.now < heard.at + input.state.settings.lease().lease() / 2;
    let serves = heard.report.gate_open == Some(record.epoch) && heard.refused_at.is_none();
    (recent && serves).then_some(&heard.report)
}

fn wanted(input: &Input<'_>, record: &PrimaryRecord) -> Option<Upstream> {
    Some(Upstream {
        node: record.node.clone(),
        epoch: record.epoch,
        slot: slot_name(record.timeline, &input.me.name),
        address: input
            .state
            .members
            .get(&record.node)?
            .addresses
            .postgres
            .clone(),
    })
}
