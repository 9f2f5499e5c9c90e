//! P3: what is lost is told, and what loses nothing.

use super::Violation;
use crate::journal::{Cause, JournalEntry, LostRange};
use crate::{Epoch, Lsn, StartKind, TimelineId};

/// An acknowledged write that the cluster's line does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingWrite {
    /// End of its commit record.
    pub end: Lsn,
    /// The epoch that it was acknowledged in.
    pub written: Epoch,
    /// The timeline that it was written on.
    pub timeline: TimelineId,
    /// The first epoch that does not have it.
    pub epoch: Epoch,
}

/// P3: a missing write is in the range that the journal gives for the epoch that lost it. `final_only`
/// says that the old primary has been back, so that nothing but the whole range will do; otherwise it
/// is enough that the write is not below the range.
pub fn loss_reported(
    missing: &MissingWrite,
    journal: &[JournalEntry],
    final_only: bool,
) -> Result<(), Violation> {
    let covered = |range: LostRange| {
        missing.end > range.from && (missing.end <= range.to || (!final_only && !range.is_final))
    };
    let losing = journal.iter().find(|entry| entry.epoch == missing.epoch);
    let left_at = losing.and_then(|entry| entry.fork_lsn);
    let tells = |entry: &&JournalEntry| {
        // A primary that was named and never opened may have cost it; and the tail that two epochs do
        // without, from that point or before, is told for the later one.
        let before = entry.epoch <= missing.epoch;
        let same = entry
            .lost
            .is_some_and(|lost| left_at.is_none_or(|left| lost.from <= left));
        entry.epoch > missing.written && (before || same)
    };
    let told: Vec<_> = journal.iter().filter(tells).collect();
    let mut ranges = told.iter().filter_map(|entry| entry.lost);
    // Of an epoch after it that tells nothing it cannot be said that it tells of something else.
    let silent = !told
        .iter()
        .any(|entry| entry.lost.is_some() && entry.epoch <= missing.epoch);
    if ranges.clone().any(covered) || (silent && !final_only) {
        return Ok(());
    }
    let journaled = match ranges.next_back() {
        Some(range) => format!("the journal says {} to {}", range.from, range.to),
        None => "the journal says nothing".to_owned(),
    };
    Err(Violation::Unreported {
        lsn: missing.end,
        written: missing.written,
        epoch: missing.epoch,
        journaled,
    })
}

/// A restart, a reinstatement and a switchover lose no acknowledged write.
pub fn kept_in_place(entry: &JournalEntry, missing: &[MissingWrite]) -> Result<(), Violation> {
    let in_place = matches!(
        entry.kind,
        Some(StartKind::Restart | StartKind::Reinstatement)
    );
    // Where the old primary is not there any more, it is a failover after all.
    let planned =
        matches!(entry.cause, Cause::Switchover) && entry.evidence.iter().any(|e| e.former_primary);
    match missing.first() {
        Some(write) if in_place || planned => Err(Violation::LostInPlace {
            epoch: entry.epoch,
            how: format!("{:?} after {}", entry.kind, entry.cause.code()),
            lsn: write.end,
        }),
        Some(_) | None => Ok(()),
    }
}
