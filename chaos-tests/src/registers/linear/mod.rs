//! Whether some order of the operations on one register, each at a moment between its sending and its
//! end, explains all answers (Wing and Gong's search, with Lowe's memory of what was tried).
//!
//! The testers at hand answer yes or no for a whole history and remember nothing of what they tried. A
//! round has thousands of operations, so it is cut where nothing is under way, and the search has to say
//! with which values each piece can end. The tests hold it against such a tester.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use super::{Asked, Told};

/// Operations of one piece, so that a set of them is a number.
const PIECE_MAX: usize = 128;

/// An operation that certainly happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) asked: Asked,
    pub(super) told: Told,
    pub(super) sent: Duration,
    /// None where nothing says by when it had happened.
    pub(super) ended: Option<Duration>,
}

/// Why there is no yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Objection {
    /// No order of these explains the answers, whichever of these values was there before.
    NoOrder(Vec<Step>, BTreeSet<i64>),
    /// So many overlapping operations are not searched.
    TooLong(usize),
}

/// Looks for an order. The register begins with `initial`.
pub(super) fn explain(initial: i64, mut steps: Vec<Step>) -> Result<(), Objection> {
    steps.sort_by_key(|step| step.sent);
    let mut values = BTreeSet::from([initial]);
    for piece in pieces(&steps) {
        if piece.len() > PIECE_MAX {
            return Err(Objection::TooLong(piece.len()));
        }
        let ends = ends_of(&values, piece);
        if ends.is_empty() {
            return Err(Objection::NoOrder(piece.to_vec(), values));
        }
        values = ends;
    }
    Ok(())
}

/// Between two pieces nothing was under way.
fn pieces(steps: &[Step]) -> Vec<&[Step]> {
    let mut pieces = Vec::new();
    let mut first = 0;
    let mut until = Some(Duration::ZERO);
    for (index, step) in steps.iter().enumerate() {
        if index > first && until.is_some_and(|until| until < step.sent) {
            pieces.push(&steps[first..index]);
            first = index;
        }
        until = until.zip(step.ended).map(|(until, ended)| until.max(ended));
    }
    pieces.push(&steps[first..]);
    pieces
}

/// Every value with which the piece can end.
fn ends_of(before: &BTreeSet<i64>, piece: &[Step]) -> BTreeSet<i64> {
    let all = u128::MAX >> (PIECE_MAX - piece.len()).min(127) >> u32::from(piece.is_empty());
    let mut ends = BTreeSet::new();
    let mut tried: HashSet<(u128, i64)> = HashSet::new();
    let mut open: Vec<(u128, i64)> = before.iter().map(|value| (0, *value)).collect();
    while let Some((done, value)) = open.pop() {
        if !tried.insert((done, value)) {
            continue;
        }
        if done == all {
            ends.insert(value);
            continue;
        }
        let left = || (0..piece.len()).filter(|index| done & (1 << index) == 0);
        // Nothing can come next that was sent after something left had ended.
        let first_end = left().filter_map(|index| piece[index].ended).min();
        for index in left() {
            let step = &piece[index];
            if first_end.is_none_or(|end| step.sent <= end)
                && let Some(value) = after(value, step)
            {
                open.push((done | (1 << index), value));
            }
        }
    }
    ends
}

/// The value after the step, if the step's answer fits the value before.
fn after(value: i64, step: &Step) -> Option<i64> {
    match (step.asked, step.told) {
        (Asked::Read, Told::Value(seen)) => (seen == value).then_some(value),
        (Asked::Write(to), Told::Done) => Some(to),
        (Asked::Swap { from, to }, Told::Done) => (from == value).then_some(to),
        (Asked::Swap { from, .. }, Told::Differs) => (from != value).then_some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
