//! Judges what the reader of all rows saw while the run went on.
//!
//! Every read goes to the primary, so it holds every row that was acknowledged before it was sent and
//! is not lost; and what it saw is there in the end, or lost and reported.

use std::collections::BTreeSet;

use crate::history::HistoryEntry;
use crate::load::{Attempt, Outcome};
use crate::reader::Read;

/// What is wrong, in words; one for each read at most.
pub fn judge(
    attempts: &[Attempt],
    reads: &[Read],
    present: &BTreeSet<(i32, i64)>,
    journal: &[HistoryEntry],
) -> Vec<String> {
    reads
        .iter()
        .filter_map(|read| {
            stale(attempts, read, present)
                .or_else(|| vanished(read, present, journal))
                .or_else(|| too_early(attempts, read))
        })
        .collect()
}

/// A row that was acknowledged before the question, and is there to this day, was not in the answer.
fn stale(attempts: &[Attempt], read: &Read, present: &BTreeSet<(i32, i64)>) -> Option<String> {
    let missing = attempts
        .iter()
        .filter(|row| row.outcome == Outcome::Acknowledged && row.ended < read.sent)
        .filter(|row| present.contains(&(row.writer, row.number)))
        .find(|row| !read.rows.contains(row.writer, row.number))?;
    Some(format!(
        "a stale read: {missing:?} is not in what timeline {} gave from {:?} to {:?}",
        read.timeline, read.sent, read.ended
    ))
}

/// A row that was seen is gone, and the journal does not say so.
fn vanished(
    read: &Read,
    present: &BTreeSet<(i32, i64)>,
    journal: &[HistoryEntry],
) -> Option<String> {
    let may_be_lost = journal.iter().any(|entry| {
        entry.timeline > read.timeline
            && entry.lost_to_lsn > entry.lost_from_lsn
            && entry.lost_from_lsn.is_some_and(|from| from < read.before)
    });
    let (writer, number) = read.rows.iter().find(|row| !present.contains(row))?;
    (!may_be_lost).then(|| {
        format!(
            "read once and gone later: row {number} of writer {writer}, seen on timeline {} before {}, \
             is in no lost range of {journal:?}",
            read.timeline, read.before
        )
    })
}

/// A row was there before anybody sent it.
fn too_early(attempts: &[Attempt], read: &Read) -> Option<String> {
    let early = attempts
        .iter()
        .filter(|row| row.sent > read.ended)
        .find(|row| read.rows.contains(row.writer, row.number))?;
    Some(format!(
        "read before it was sent: {early:?}, {:?}",
        read.ended
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgha_core::Lsn;
    use proptest::prelude::*;
    use std::time::Duration;

    fn row(number: i64) -> Attempt {
        let at = Duration::from_millis(number.unsigned_abs() * 10);
        Attempt {
            writer: 1,
            number,
            sent: at,
            ended: at + Duration::from_millis(5),
            outcome: Outcome::Acknowledged,
            before_commit: Some(Lsn(number.unsigned_abs() * 100)),
            after_commit: Some(Lsn(number.unsigned_abs() * 100 + 50)),
            timeline: Some(1),
        }
    }

    fn read(at_ms: u64, rows: impl IntoIterator<Item = i64>) -> Read {
        Read {
            sent: Duration::from_millis(at_ms),
            ended: Duration::from_millis(at_ms + 5),
            before: Lsn(at_ms * 10),
            timeline: 1,
            rows: rows.into_iter().map(|number| (1, number)).collect(),
        }
    }

    fn present(rows: impl IntoIterator<Item = i64>) -> BTreeSet<(i32, i64)> {
        rows.into_iter().map(|number| (1, number)).collect()
    }

    fn lost(timeline: u32, from: u64, to: u64) -> HistoryEntry {
        HistoryEntry::example(timeline, Some((from, to)))
    }

    fn attempts(rows: i64) -> Vec<Attempt> {
        (1..=rows).map(row).collect()
    }

    #[test]
    fn a_stale_read_is_seen() {
        let all = attempts(20);
        let seen = |rows| judge(&all, &[read(100, rows)], &present(1..=20), &[]);
        assert!(seen(1..=9).is_empty());
        // Row 10 was under way: there or not.
        assert!(seen(1..=10).is_empty());
        assert!(!seen(1..=8).is_empty());
    }

    #[test]
    fn a_row_that_was_seen_and_is_gone_must_be_reported() {
        let all = attempts(20);
        let reads = [read(150, 1..=14)];
        let left = present((1..=20).filter(|n| *n != 14));
        assert!(!judge(&all, &reads, &left, &[]).is_empty());
        assert!(judge(&all, &reads, &left, &[lost(2, 1_400, 1_450)]).is_empty());
        // Another timeline, a range behind what was read, an empty range.
        for entry in [
            lost(1, 1_400, 1_450),
            lost(2, 1_600, 1_650),
            lost(2, 1_400, 1_400),
        ] {
            assert!(!judge(&all, &reads, &left, &[entry]).is_empty());
        }
    }

    #[test]
    fn a_row_from_the_future_is_seen() {
        assert!(!judge(&attempts(20), &[read(100, 1..=15)], &present(1..=20), &[]).is_empty());
    }

    proptest! {
        /// What a single server answers is never blamed; without one acknowledged row it always is.
        #[test]
        fn a_missing_row_is_always_blamed(at in 50_u64..400, gone in 1_i64..40) {
            let all = attempts(40);
            let there = |number: &i64| row(*number).ended < Duration::from_millis(at);
            let rows: Vec<i64> = (1..=40).filter(there).collect();
            let whole = judge(&all, &[read(at, rows.clone())], &present(1..=40), &[]);
            prop_assert_eq!(whole, Vec::<String>::new());
            let holed = rows.iter().copied().filter(|number| *number != gone);
            let blamed = !judge(&all, &[read(at, holed)], &present(1..=40), &[]).is_empty();
            prop_assert_eq!(blamed, rows.contains(&gone));
        }
    }
}
