//! What is known of this data and of the primary, as far as it decides what may be done.

use std::time::Duration;

use crate::decide::local::{JobKind, Upstream};
use crate::decide::{Input, slot_name, tell};
use crate::lineage::{Position, Verdict};
use crate::report::MemberReport;
use crate::state::PrimaryRecord;

/// Where the primary's slot keeps less than is needed, following is tried for this long all the same:
/// longer than `DETACHED_MAX`, so that it was tried once.
const ATTACH_PATIENCE: Duration = Duration::from_secs(30);
/// Looks at rewound data that fail in a row, as it does not get consistent, before it is cloned anew:
/// the WAL that it needs may be gone everywhere.
const INCONSISTENT_MAX: u32 = 3;

pub(super) fn judge(input: &Input<'_>, record: &PrimaryRecord, position: &Position) -> Verdict {
    input.state.lineage.judge(position, record.timeline)
}

/// Whether the journal has what this data will be rid of: a crash on the way would leave nobody who
/// knows (P3).
pub(super) fn journaled(input: &Input<'_>) -> bool {
    tell::untold(input).is_none()
}

/// Before its first checkpoint the primary's control file still names its old timeline, and a
/// rewind would find nothing to do (faults M4).
pub(super) fn may_rewind(input: &Input<'_>, record: &PrimaryRecord) -> bool {
    record.opened
        && primary_report(input, record)
            .is_some_and(|report| report.checkpointed == Some(record.timeline))
}

pub(super) fn is_cut_off(input: &Input<'_>, record: &PrimaryRecord) -> bool {
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

pub(super) fn never_gets_consistent(input: &Input<'_>) -> bool {
    input.local.rewound.is_some()
        && input.local.failed.as_ref().is_some_and(|failure| {
            failure.kind == JobKind::Settle && failure.count >= INCONSISTENT_MAX
        })
}

/// What the primary says, while it is heard and serves: for one that may be gone no data is touched,
/// it may be the last that there is.
pub(super) fn primary_report<'a>(
    input: &'a Input<'_>,
    record: &PrimaryRecord,
) -> Option<&'a MemberReport> {
    let heard = input.peers.get(&record.node)?;
    let recent = input.now < heard.at + input.state.settings.lease().lease() / 2;
    let serves = heard.report.gate_open == Some(record.epoch) && heard.refused_at.is_none();
    (recent && serves).then_some(&heard.report)
}

pub(super) fn wanted(input: &Input<'_>, record: &PrimaryRecord) -> Option<Upstream> {
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
