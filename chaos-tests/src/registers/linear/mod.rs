//! Whether some order of the operations on one register, each at a moment between its sending and its
//! end, explains all answers (Wing and Gong's search, with Lowe's memory of what was tried).
//!
//! The testers at hand answer yes or no for a whole history and remember nothing of what they tried. A
//! round has thousands of operations, so it is cut where nothing is under way, and the search has to say
//! with which values each piece can end. The tests hold it against such a tester.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use fixedbitset::FixedBitSet;

use super::{Asked, Told};

/// What may be tried for one piece. A write that nobody answered and that comes through late overlaps hundreds
/// of others, with which it can change places; only many of those at a time take too long.
const TRIED_MAX: usize = 20_000;

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
    /// So many overlapping operations have more orders than can be tried.
    TooMany(usize),
}

/// Looks for an order. The register begins with `initial`.
pub(super) fn explain(initial: i64, mut steps: Vec<Step>) -> Result<(), Objection> {
    steps.sort_by_key(|step| step.sent);
    let mut values = BTreeSet::from([initial]);
    for piece in pieces(&steps) {
        let ends = ends_of(&values, piece).ok_or(Objection::TooMany(piece.len()))?;
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

/// Every value with which the piece can end; nothing where that takes too long.
fn ends_of(before: &BTreeSet<i64>, piece: &[Step]) -> Option<BTreeSet<i64>> {
    let mut ends = BTreeSet::new();
    let mut tried: HashSet<(FixedBitSet, i64)> = HashSet::new();
    let none_done = FixedBitSet::with_capacity(piece.len());
    let mut open: Vec<(FixedBitSet, i64)> = before
        .iter()
        .map(|value| (none_done.clone(), *value))
        .collect();
    while let Some(state) = open.pop() {
        if tried.contains(&state) {
            continue;
        }
        if tried.len() == TRIED_MAX {
            return None;
        }
        let (done, value) = &state;
        if done.is_full() {
            ends.insert(*value);
        }
        // Nothing can come next that was sent after something left had ended.
        let first_end = done.zeroes().filter_map(|index| piece[index].ended).min();
        for index in done.zeroes() {
            let step = &piece[index];
            if first_end.is_none_or(|end| step.sent <= end)
                && let Some(value) = after(*value, step)
            {
                let mut done = done.clone();
                done.insert(index);
                open.push((done, value));
            }
        }
        tried.insert(state);
    }
    Some(ends)
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
