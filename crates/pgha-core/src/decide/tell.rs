//! What a member tells the others, from the same facts that it decides from.

use std::collections::BTreeMap;

use super::input::step;
use super::{Data, Input, JobKind, Tree, Why, is_mine};
use crate::command::Opened;
use crate::journal::{LostRange, Step};
use crate::lineage::Position;
use crate::report::{GrantReport, MemberReport, Standing};
use crate::state::{PrimaryRecord, Revoked};
use crate::{Addresses, Epoch, Lsn, Phase, StartKind, TimelineId};

/// This member's report. `None` where the cluster does not know it.
pub fn report(input: &Input<'_>, why: &Why) -> Option<MemberReport> {
    let member = input.state.members.get(&input.me.name)?;
    let local = input.local;
    let probe = local.probe.as_ref();
    Some(MemberReport {
        name: input.me.name.clone(),
        raft_id: member.raft_id,
        store_id: member.store_id.clone(),
        nonce: input.me.nonce,
        kind: input.me.kind,
        addresses: Addresses::clone(&member.addresses),
        adopted: local.adopted,
        // Filled in by whoever knows the log; decisions do not look at it.
        applied_index: 0,
        store_sequence: 0,
        role: why.role,
        state: why.state,
        reason: why.reason,
        detail: why.detail.clone(),
        // Of stopped data as well: who was promoted by hand and stopped would not be seen where the
        // next timeline is assigned.
        timeline: probe
            .map(|probe| probe.timeline)
            .or_else(|| Some(local.settled.as_ref()?.timeline)),
        received: probe.map(|probe| probe.received),
        replayed: probe.map(|probe| probe.replayed),
        system_identifier: match &local.data {
            Data::Cluster(cluster) => Some(cluster.system_identifier),
            Data::Unknown | Data::Missing | Data::Unfinished | Data::Unusable(_) => None,
        },
        standing: standing(input),
        gate_open: local.gate_open,
        grant: grant(input),
        opened: opened(input),
        checkpointed: probe
            .filter(|p| !p.in_recovery)
            .and_then(|p| p.checkpointed),
        slots: probe.map(|probe| probe.slots.clone()).unwrap_or_default(),
        lost: lost(input),
        shutting_down: local.shutting_down,
        restart_pending: probe
            .map(|probe| probe.restart_pending.clone())
            .unwrap_or_default(),
        clones_from: local.job.as_ref().and_then(|job| match &job.kind {
            JobKind::Clone { from, .. } => Some(from.clone()),
            _ => None,
        }),
    })
}

/// The first of what the journal does not have yet.
fn lost(input: &Input<'_>) -> Option<(Epoch, LostRange)> {
    let known = || Some(to_the_page(input, input.local.lost?));
    untold(input).or_else(|| known().filter(|lost| !told(input, lost)))
}

/// What the journal does not have yet of what only this member knows, and knows from data that it is
/// about to give up.
pub(super) fn untold(input: &Input<'_>) -> Option<(Epoch, LostRange)> {
    let all = [about_to_be_lost(input), lost_with_data(input)];
    let mut all = all
        .into_iter()
        .flatten()
        .map(|lost| to_the_page(input, lost));
    all.find(|lost| !told(input, lost))
}

fn told(input: &Input<'_>, (epoch, range): &(Epoch, LostRange)) -> bool {
    input.state.has_journaled(*epoch, range, &input.me.name)
}

/// What this member has beyond the line that it is about to go back to.
fn about_to_be_lost(input: &Input<'_>) -> Option<(Epoch, LostRange)> {
    let record = input.state.primary().filter(|record| record.opened)?;
    let position = input.local.settled.as_ref()?;
    input.state.lineage.given_up(position, record.timeline)
}

/// What it had beyond the line as primary, where only the WAL could still be read: nobody else can tell
/// (P3).
fn lost_with_data(input: &Input<'_>) -> Option<(Epoch, LostRange)> {
    let record = input.state.primary().filter(|record| record.opened)?;
    let (timeline, end) = input.local.gone?;
    let position = line_until(input, timeline, end);
    input.state.lineage.given_up(&position, record.timeline)
}

/// A server flushes whole pages, so the position that it told last may be further than its last whole
/// record: in the middle of one that nobody finds again.
fn to_the_page(input: &Input<'_>, (epoch, range): (Epoch, LostRange)) -> (Epoch, LostRange) {
    let page = input.local.wal_page_bytes;
    let to = match range.to.0.checked_next_multiple_of(page) {
        Some(end) => Lsn(end),
        None => range.to,
    };
    (epoch, LostRange { to, ..range })
}

/// This member's answer to the current Revoke, once it can give one: the new epoch is on disk and
/// nothing can be received any more. Before that, what it has could still grow under another's eyes.
pub fn standing(input: &Input<'_>) -> Option<Standing> {
    let Phase::Revoked(revoked) = &input.state.phase else {
        return None;
    };
    let local = input.local;
    if local.adopted < input.state.epoch || local.shutting_down || local.replacing().is_some() {
        return None;
    }
    let Data::Cluster(cluster) = &local.data else {
        return None;
    };
    let answer = |position: Position, former_primary, running| Standing {
        end_is_exact: cluster.shutdown_lsn.or(cluster.end_lsn).is_some(),
        epoch: input.state.epoch,
        index: revoked.index,
        position,
        former_primary,
        running,
        redo_bytes: local
            .grant
            .flush_lsn
            .map(|flush| cluster.redo_lsn.bytes_behind(flush)),
    };
    match &local.tree {
        Tree::Unknown => None,
        Tree::Standby { .. } if local.upstream.is_some() => None,
        Tree::Standby { .. } => {
            let position = local.settled.clone()?;
            // The timeline of a running standby may move on as it replays what it has.
            Some(answer(position, false, true))
        }
        Tree::Empty => former(input, revoked).map(|previous| {
            let end = cluster
                .shutdown_lsn
                .or(cluster.end_lsn)
                .or(local.grant.flush_lsn)
                .unwrap_or(Lsn::ZERO);
            answer(line_until(input, previous.timeline, end), true, false)
        }),
        Tree::Primary { epoch, .. } => {
            let previous = former(input, revoked).filter(|previous| previous.epoch == *epoch)?;
            let end = local
                .probe
                .as_ref()
                .map_or(Lsn::ZERO, |probe| probe.received);
            Some(answer(
                line_until(input, previous.timeline, end),
                true,
                true,
            ))
        }
    }
}

/// The epoch that was revoked, if this process served it on a timeline that is the cluster's line. A
/// promotion that never opened does not count: its data may still be on the parent timeline, and
/// starting that as primary would make a twin.
pub(super) fn former<'a>(input: &Input<'_>, revoked: &'a Revoked) -> Option<&'a PrimaryRecord> {
    revoked.previous.as_ref().filter(|previous| {
        is_mine(input, previous)
            && input.local.served == Some(previous.epoch)
            && (previous.opened || previous.kind != StartKind::Promotion)
    })
}

/// A position on the cluster's own timeline of that number.
fn line_until(input: &Input<'_>, timeline: TimelineId, end: Lsn) -> Position {
    let lineage = &input.state.lineage;
    let path = lineage.path_to(timeline).unwrap_or_default();
    let fork_id = |t| Some((t, lineage.forks.get(&t)?.fork_id.clone()));
    Position {
        timeline,
        end,
        fork_ids: path.iter().filter_map(|(t, _)| fork_id(*t)).collect(),
        left: BTreeMap::new(),
    }
}

fn grant(input: &Input<'_>) -> GrantReport {
    let grant = &input.local.grant;
    GrantReport {
        epoch: grant.epoch,
        silent: grant.silent_at.is_some_and(|at| input.now >= at),
        released: grant.released.clone(),
        flush_lsn: grant.flush_lsn,
        remembers: grant.remembers,
        promised: grant.promised,
    }
}

fn opened(input: &Input<'_>) -> Option<Opened> {
    let record = input
        .state
        .primary()
        .filter(|record| is_mine(input, record))?;
    let opened_at = input.local.gate_opened_at?;
    if record.opened || input.local.gate_open != Some(record.epoch) {
        return None;
    }
    let promoted = input
        .local
        .promoted
        .as_ref()
        .filter(|(o, _)| o.epoch == record.epoch);
    let mut steps: Vec<Step> = input
        .state
        .journal
        .iter()
        .rev()
        .find(|entry| entry.epoch == record.epoch)
        .map(|entry| entry.steps.clone())
        .unwrap_or_default();
    let begun = steps
        .iter()
        .find(|s| s.name == "revoked")
        .map_or(0, |s| s.ms);
    let mut add = |name: &str, at: Option<crate::Mono>| {
        if let Some(at) = at {
            let ms = u64::try_from(at.since(input.since.epoch).as_millis()).unwrap_or(u64::MAX);
            steps.push(step(name, begun + ms));
        }
    };
    add("committed", Some(input.since.phase));
    add("leased", input.local.lease.held_since);
    add("promoted", promoted.map(|(_, at)| *at));
    add("routed", Some(opened_at));
    Some(Opened {
        epoch: record.epoch,
        timeline: record.timeline,
        fork_lsn: promoted.and_then(|(o, _)| o.fork_lsn),
        fork_row_lsn: promoted.and_then(|(o, _)| o.fork_row_lsn),
        steps,
    })
}
