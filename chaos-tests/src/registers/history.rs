//! From what clients were told to what certainly happened, and the judgement of it.
//!
//! Asynchronous replication may roll writes back that were acknowledged. These are left out, with what
//! was seen of them: whether the loss was permitted and reported is judged by their rows, as every
//! loss. What is left must be explained by one register for each key.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::linear::{self, Objection, Step};
use super::{Asked, Operation, Told};
use crate::load::{Attempt, Outcome};
use crate::reader::Read;

/// What came of the registers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgement {
    /// What nothing explains, in words.
    pub wrong: Vec<String>,
    /// What could not be judged.
    pub doubts: Vec<String>,
    /// Operations that were judged.
    pub judged: usize,
    /// Answers that were left out because they may have seen what was rolled back.
    pub left_out: usize,
}

impl Operation {
    /// The row that the operation leaves, as an attempt of its client; none where it leaves none.
    pub fn attempt(&self) -> Option<Attempt> {
        let number = self.asked.value()?;
        let outcome = match self.told {
            Told::Done => Outcome::Acknowledged,
            Told::Nothing => Outcome::Unknown,
            Told::Differs | Told::Value(_) => return None,
        };
        Some(Attempt {
            writer: self.writer,
            number,
            sent: self.sent,
            ended: self.ended,
            outcome,
            before_commit: self.before_commit,
            after_commit: None,
            timeline: self.timeline,
        })
    }
}

impl Asked {
    const fn value(self) -> Option<i64> {
        match self {
            Self::Read => None,
            Self::Write(to) | Self::Swap { to, .. } => Some(to),
        }
    }
}

/// Judges every key. `present` are the rows that are there in the end; a read that holds the row of an
/// unanswered write says by when that had happened.
pub fn judge(
    operations: &[Operation],
    reads: &[Read],
    present: &BTreeSet<(i32, i64)>,
) -> Judgement {
    let mut judgement = Judgement::default();
    let mut keys: BTreeMap<i32, Vec<&Operation>> = BTreeMap::new();
    for operation in operations {
        keys.entry(operation.key).or_default().push(operation);
    }
    for (key, operations) in keys {
        let mut steps = Vec::new();
        for (operation, step) in operations.iter().zip(certain(&operations, reads, present)) {
            let answered = operation.told != Told::Nothing;
            judgement.left_out += usize::from(answered && step.is_none());
            steps.extend(step);
        }
        judgement.judged += steps.len();
        match linear::explain(0, steps) {
            Ok(()) => {}
            Err(Objection::TooMany(length)) => judgement.doubts.push(format!(
                "{length} overlapping operations on register {key} have too many orders"
            )),
            Err(Objection::NoOrder(piece, before)) => judgement.wrong.push(format!(
                "register {key}: no order explains {piece:?}, before it {before:?}"
            )),
        }
    }
    judgement
}

/// Of each operation what certainly happened, unless it did not or saw what was rolled back.
fn certain(
    operations: &[&Operation],
    reads: &[Read],
    present: &BTreeSet<(i32, i64)>,
) -> Vec<Option<Step>> {
    let kept = |o: &Operation| {
        o.asked
            .value()
            .is_some_and(|value| present.contains(&(o.writer, value)))
    };
    let gone: Vec<&Operation> = operations
        .iter()
        .filter(|o| o.told != Told::Differs && o.asked.value().is_some() && !kept(o))
        .copied()
        .collect();
    operations
        .iter()
        .map(|o| {
            let (told, ended) = match (o.asked, o.told) {
                (Asked::Read, Told::Value(seen)) if saw(seen, o, &gone) => return None,
                (Asked::Swap { .. }, Told::Differs) if may_have_met(o, &gone) => return None,
                (Asked::Read, Told::Value(_)) | (Asked::Swap { .. }, Told::Differs) => {
                    (o.told, Some(o.ended))
                }
                (Asked::Write(_) | Asked::Swap { .. }, Told::Done) if kept(o) => {
                    (Told::Done, Some(o.ended))
                }
                // Nobody told the client, but PostgreSQL has the row.
                (Asked::Write(_) | Asked::Swap { .. }, Told::Nothing) if kept(o) => {
                    (Told::Done, first_seen(o, reads))
                }
                _ => return None,
            };
            Some(Step {
                asked: o.asked,
                told,
                sent: o.sent,
                ended,
            })
        })
        .collect()
}

/// It saw the value of a write that is gone.
fn saw(value: i64, read: &Operation, gone: &[&Operation]) -> bool {
    gone.iter()
        .any(|write| write.asked.value() == Some(value) && write.sent <= read.ended)
}

/// It found another value than expected, and that may have been one that is gone.
fn may_have_met(swap: &Operation, gone: &[&Operation]) -> bool {
    gone.iter().any(|write| {
        write.sent <= swap.ended && (write.timeline.is_none() || write.timeline == swap.timeline)
    })
}

fn first_seen(write: &Operation, reads: &[Read]) -> Option<Duration> {
    let value = write.asked.value()?;
    let holding = reads
        .iter()
        .filter(|read| read.rows.contains(write.writer, value));
    holding.map(|read| read.ended).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn operation(asked: Asked, told: Told, sent: u64, ended: u64) -> Operation {
        Operation {
            writer: 1,
            key: 5,
            asked,
            told,
            sent: ms(sent),
            ended: ms(ended),
            before_commit: None,
            timeline: Some(1),
        }
    }

    fn present(rows: &[i64]) -> BTreeSet<(i32, i64)> {
        rows.iter().map(|number| (1, *number)).collect()
    }

    fn read_of(at: u64, rows: &[i64]) -> Read {
        Read {
            sent: ms(at),
            ended: ms(at + 1),
            before: pgha_core::Lsn(1),
            timeline: 1,
            rows: rows.iter().map(|number| (1, *number)).collect(),
        }
    }

    #[test]
    fn a_stale_read_is_wrong() {
        let history = [
            operation(Asked::Write(16), Told::Done, 0, 1),
            operation(Asked::Read, Told::Value(0), 2, 3),
        ];
        assert_eq!(judge(&history, &[], &present(&[16])).wrong.len(), 1);
    }

    #[test]
    fn what_was_rolled_back_is_left_out_with_what_saw_it() {
        let history = [
            operation(Asked::Write(16), Told::Done, 0, 1),
            operation(Asked::Write(32), Told::Done, 2, 3),
            operation(Asked::Read, Told::Value(32), 4, 5),
            operation(Asked::Swap { from: 16, to: 48 }, Told::Differs, 6, 7),
            operation(Asked::Read, Told::Value(16), 20, 21),
        ];
        let rolled_back = judge(&history, &[], &present(&[16]));
        assert_eq!(rolled_back.wrong, Vec::<String>::new());
        assert_eq!((rolled_back.judged, rolled_back.left_out), (2, 3));
        // The same where nothing was rolled back: the last read is stale.
        assert_eq!(judge(&history, &[], &present(&[16, 32])).wrong.len(), 1);
    }

    #[test]
    fn an_unanswered_write_that_is_there_happened_before_it_was_read() {
        let history = |last| {
            [
                operation(Asked::Write(16), Told::Nothing, 0, 1),
                operation(Asked::Read, Told::Value(last), 20, 21),
            ]
        };
        let there = present(&[16]);
        assert!(judge(&history(16), &[], &there).wrong.is_empty());
        // Nothing says by when it happened, until a read of all rows does.
        assert!(judge(&history(0), &[], &there).wrong.is_empty());
        assert_eq!(
            judge(&history(0), &[read_of(10, &[16])], &there)
                .wrong
                .len(),
            1
        );
        // It is not there: it never happened, and a client that saw it is left out.
        assert!(judge(&history(0), &[], &present(&[])).wrong.is_empty());
        assert_eq!(judge(&history(16), &[], &present(&[])).left_out, 1);
    }

    #[test]
    fn a_value_that_nobody_wrote_is_wrong() {
        let history = [operation(Asked::Read, Told::Value(7), 0, 1)];
        assert_eq!(judge(&history, &[], &present(&[])).wrong.len(), 1);
    }
}
