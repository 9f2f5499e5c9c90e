//! Judges what clients were told against what the database holds in the end.
//!
//! Losing the end of a WAL is losing elements of a set, so checking is linear and needs no solver:
//! every acknowledged row must be there or, with asynchronous replication, inside a range that the
//! journal reports as lost; and no row may be there that nobody sent.

pub mod destroyed;
pub mod reads;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use pgha_core::Lsn;

use crate::history::HistoryEntry;
use crate::load::{Attempt, Record};
use crate::sql::Target;

/// Fewer acknowledgements prove nothing about a run.
const ACKNOWLEDGED_MIN: usize = 50;
/// A tail is told to the end of its page.
const WAL_PAGE_BYTES: u64 = 8192;

/// What came of the rows of a run.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// Rows that a client was told are safe.
    pub acknowledged: usize,
    /// Of these, the ones that are not there.
    pub lost: Vec<Attempt>,
    /// Rows of unknown outcome that are there.
    pub unknown_present: usize,
}

/// Reads the table over a session of its own.
pub async fn read_rows(target: &Target) -> anyhow::Result<BTreeSet<(i32, i64)>> {
    let session = target.connect(Duration::from_secs(2)).await?;
    let rows = session.rows("SELECT writer, number FROM pgha_load").await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}

/// As [`compare`], and fails on a run that proves nothing.
pub fn judge(records: &[Record], present: &BTreeSet<(i32, i64)>) -> anyhow::Result<Verdict> {
    let verdict = compare(records, present)?;
    anyhow::ensure!(
        verdict.acknowledged >= ACKNOWLEDGED_MIN,
        "only {} acknowledged rows: this run proves nothing",
        verdict.acknowledged
    );
    Ok(verdict)
}

/// Compares, and fails on what no replication mode permits: rows that nobody sent, and a loss that
/// is not the end of its timeline (which shows a fork rather than a cut tail).
pub fn compare(records: &[Record], present: &BTreeSet<(i32, i64)>) -> anyhow::Result<Verdict> {
    let attempts = || records.iter().flat_map(|record| &record.attempts);
    let sent: BTreeSet<(i32, i64)> = attempts().map(|row| (row.writer, row.number)).collect();
    let writers: BTreeSet<i32> = sent.iter().map(|(writer, _)| *writer).collect();
    let invented: Vec<_> = present
        .iter()
        .filter(|(writer, _)| writers.contains(writer))
        .filter(|row| !sent.contains(row))
        .collect();
    anyhow::ensure!(invented.is_empty(), "rows that nobody sent: {invented:?}");
    let there = |row: &&Attempt| present.contains(&(row.writer, row.number));
    let acknowledged: Vec<&Attempt> = records.iter().flat_map(Record::acknowledged).collect();
    let lost: Vec<Attempt> = acknowledged
        .iter()
        .filter(|row| !there(row))
        .map(|row| **row)
        .collect();
    refuse_holes(&acknowledged, &lost, present)?;
    Ok(Verdict {
        acknowledged: acknowledged.len(),
        lost,
        unknown_present: attempts()
            .filter(|row| row.outcome == crate::load::Outcome::Unknown)
            .filter(there)
            .count(),
    })
}

/// On one timeline a later row of a writer is behind an earlier one in the WAL: if it is there, so
/// is the earlier one.
fn refuse_holes(
    acknowledged: &[&Attempt],
    lost: &[Attempt],
    present: &BTreeSet<(i32, i64)>,
) -> anyhow::Result<()> {
    for gone in lost {
        let kept = acknowledged.iter().find(|row| {
            row.writer == gone.writer
                && row.timeline == gone.timeline
                && row.number > gone.number
                && present.contains(&(row.writer, row.number))
        });
        anyhow::ensure!(
            kept.is_none(),
            "{gone:?} is lost, but the later {kept:?} is there: a fork"
        );
    }
    Ok(())
}

impl Verdict {
    /// Fails unless every acknowledged row is there.
    pub fn nothing_lost(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.lost.is_empty(),
            "{} acknowledged rows are lost: {:?}",
            self.lost.len(),
            self.lost.first()
        );
        Ok(())
    }

    /// Fails unless every lost row lies inside a range that the journal reports, and the range
    /// inside the bound of P3.
    pub fn losses_reported(&self, journal: &[HistoryEntry], bytes_max: u64) -> anyhow::Result<()> {
        self.lost
            .iter()
            .try_for_each(|row| reported(row, journal, bytes_max))
    }
}

/// Fails unless that row lies inside a range that the journal reports, and the range inside the bound
/// of P3.
pub fn reported(row: &Attempt, journal: &[HistoryEntry], bytes_max: u64) -> anyhow::Result<()> {
    let entry = journal
        .iter()
        .find(|entry| holds(entry, row))
        .with_context(|| format!("no lost range of the journal holds {row:?}: {journal:?}"))?;
    // Not the journal's own figure: it has to be the size of the range that held the row.
    let (from, to) = (entry.lost_from_lsn, entry.lost_to_lsn);
    let bytes = from.zip(to).map(|(from, to)| from.bytes_behind(to));
    let bytes = bytes.context("a lost range without its ends")?;
    anyhow::ensure!(
        entry.lost_bytes == Some(bytes),
        "the range has {bytes} bytes: {entry:?}"
    );
    anyhow::ensure!(
        bytes <= bytes_max + WAL_PAGE_BYTES,
        "{bytes} bytes lost, more than {bytes_max}: {entry:?}"
    );
    Ok(())
}

/// The commit record lies between the two positions that the client saw; it is inside the range
/// where the two overlap. Of a row whose second position never came only the first binds.
fn holds(entry: &HistoryEntry, row: &Attempt) -> bool {
    let (Some(from), Some(to), Some(before)) =
        (entry.lost_from_lsn, entry.lost_to_lsn, row.before_commit)
    else {
        return false;
    };
    let later_timeline = row
        .timeline
        .is_some_and(|timeline| timeline < entry.timeline);
    later_timeline && before < to && row.after_commit.is_none_or(|after| after > from)
}

/// The most WAL that any stretch of that length saw, as far as the clients' positions tell.
pub fn wal_bytes_in_any(records: &[Record], stretch: Duration) -> u64 {
    let mut seen: Vec<(Duration, Lsn)> = records
        .iter()
        .flat_map(Record::acknowledged)
        .filter_map(|row| Some((row.ended, row.after_commit.or(row.before_commit)?)))
        .collect();
    seen.sort();
    let mut first = 0;
    let mut most = 0;
    for last in 0..seen.len() {
        while seen[last].0.saturating_sub(seen[first].0) > stretch {
            first += 1;
        }
        most = most.max(seen[first].1.bytes_behind(seen[last].1));
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Outcome;
    use std::collections::BTreeMap;

    fn record(rows: i64) -> Record {
        let attempts = (1..=rows)
            .map(|number| Attempt {
                writer: 1,
                number,
                sent: Duration::from_millis(number.unsigned_abs() * 10),
                ended: Duration::from_millis(number.unsigned_abs() * 10 + 1),
                outcome: Outcome::Acknowledged,
                before_commit: Some(Lsn(number.unsigned_abs() * 100)),
                after_commit: Some(Lsn(number.unsigned_abs() * 100 + 50)),
                timeline: Some(1),
            })
            .collect();
        Record {
            attempts,
            failed_connections: BTreeMap::new(),
        }
    }

    fn present(rows: impl IntoIterator<Item = i64>) -> BTreeSet<(i32, i64)> {
        rows.into_iter().map(|number| (1, number)).collect()
    }

    fn lost_range(from: u64, to: u64) -> HistoryEntry {
        HistoryEntry::example(2, Some((from, to)))
    }

    #[test]
    fn a_lost_row_is_seen() -> anyhow::Result<()> {
        let verdict = judge(&[record(100)], &present(1..=99))?;
        assert_eq!(verdict.lost.len(), 1);
        assert!(verdict.nothing_lost().is_err());
        Ok(())
    }

    #[test]
    fn a_row_that_nobody_sent_is_seen() {
        assert!(judge(&[record(100)], &present(1..=101)).is_err());
    }

    #[test]
    fn a_hole_is_no_cut_tail() {
        assert!(judge(&[record(100)], &present((1..=100).filter(|n| *n != 60))).is_err());
    }

    #[test]
    fn too_few_rows_prove_nothing() {
        assert!(judge(&[record(10)], &present(1..=10)).is_err());
    }

    #[test]
    fn a_loss_must_be_reported_where_it_happened() -> anyhow::Result<()> {
        // Row 100 was inserted up to 10000 and committed before 10050.
        let verdict = judge(&[record(100)], &present(1..=99))?;
        verdict.losses_reported(&[lost_range(10_000, 10_050)], 1000)?;
        assert!(verdict.losses_reported(&[], 1000).is_err());
        assert!(
            verdict
                .losses_reported(&[lost_range(9_000, 9_950)], 1000)
                .is_err()
        );
        assert!(
            verdict
                .losses_reported(&[lost_range(10_060, 10_100)], 1000)
                .is_err()
        );
        // A page more than the bound may be told, and not a byte beyond.
        let told_to = |to| verdict.losses_reported(&[lost_range(9_000, to)], 1_050);
        told_to(10_050 + 8_192)?;
        assert!(told_to(10_050 + 8_193).is_err());
        Ok(())
    }

    #[test]
    fn the_busiest_stretch_is_measured() {
        assert_eq!(
            wal_bytes_in_any(&[record(100)], Duration::from_millis(50)),
            500
        );
    }
}
