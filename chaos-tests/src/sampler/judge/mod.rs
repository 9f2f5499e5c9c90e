//! At most one PostgreSQL completes writes, at most one gate is open, an epoch has one start, and neither
//! epochs nor timelines go back.
//!
//! An acknowledged write was committed somewhere between its sending and its end, and a gate was open at
//! some moment between question and answer. Only what no choice of these moments explains is a violation.

mod epochs;

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Open, Seen, Server, Via, Write};

/// Direct writes to a member within this time say nothing about P1: design 4 leaves them out while the
/// guard itself is frozen, and nobody can keep an operator from promoting by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excuse {
    /// Whose PostgreSQL.
    pub member: String,
    /// From here on, on the sampler's clock.
    pub from: Duration,
    /// Up to here.
    pub until: Duration,
}

/// What is wrong, in words, and how many writes were left out by an excuse.
pub fn judge(seen: &Seen, excuses: &[Excuse]) -> (Vec<String>, usize) {
    let excused = |write: &&Write| {
        let Via::Direct(name) = &write.via else {
            return false;
        };
        excuses.iter().any(|excuse| {
            excuse.member == *name && write.ended >= excuse.from && write.sent <= excuse.until
        })
    };
    let (left_out, writes): (Vec<&Write>, Vec<&Write>) = seen.writes.iter().partition(excused);
    let mut wrong = two_servers(&writes);
    wrong.extend(timelines_back(&writes));
    wrong.extend(epochs::judge(&writes));
    wrong.extend(two_gates(&seen.open));
    wrong.extend(epochs_back(&seen.open));
    (wrong, left_out.len())
}

/// When somebody certainly served: the end of his first act to the beginning of his last.
#[derive(Debug, Clone, Copy)]
struct Span {
    by: Duration,
    still: Duration,
}

impl Span {
    fn widen(spans: &mut Option<Self>, sent: Duration, ended: Duration) {
        let span = spans.get_or_insert(Self {
            by: ended,
            still: sent,
        });
        span.by = span.by.min(ended);
        span.still = span.still.max(sent);
    }

    /// Each began an act after the other had ended one: no order of the two explains it.
    fn overlaps(self, other: Self) -> bool {
        self.by < other.still && other.by < self.still
    }
}

fn spans<'a, K: Ord + Clone + 'a>(
    acts: impl Iterator<Item = (K, Duration, Duration)>,
) -> Vec<(K, Span)> {
    let mut spans: BTreeMap<K, Option<Span>> = BTreeMap::new();
    for (who, sent, ended) in acts {
        Span::widen(spans.entry(who).or_default(), sent, ended);
    }
    spans
        .into_iter()
        .filter_map(|(who, span)| Some((who, span?)))
        .collect()
}

fn overlapping<K: std::fmt::Debug>(what: &str, spans: &[(K, Span)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (index, (one, first)) in spans.iter().enumerate() {
        for (other, second) in &spans[index + 1..] {
            if first.overlaps(*second) {
                wrong.push(format!(
                    "{what} at a time: {one:?} {first:?} and {other:?} {second:?}"
                ));
            }
        }
    }
    wrong
}

fn two_servers(writes: &[&Write]) -> Vec<String> {
    let acts = writes.iter().map(|w| (w.server.clone(), w.sent, w.ended));
    let mut wrong = overlapping("two PostgreSQL completed writes", &spans(acts));
    let mut by_timeline: BTreeMap<u32, &Server> = BTreeMap::new();
    for write in writes {
        let known = by_timeline
            .entry(write.server.timeline)
            .or_insert(&write.server);
        if known.address != write.server.address {
            wrong.push(format!(
                "one timeline on two members: {known:?} and {:?}",
                write.server
            ));
            break;
        }
    }
    wrong
}

fn two_gates(open: &[Open]) -> Vec<String> {
    let acts = open
        .iter()
        .map(|o| ((o.epoch, o.member.clone()), o.sent, o.ended));
    let spans = spans(acts);
    let mut wrong = overlapping("two open gates", &spans);
    let twice = spans.windows(2).filter(|pair| pair[0].0.0 == pair[1].0.0);
    wrong.extend(twice.map(|pair| format!("one epoch on two members: {pair:?}")));
    wrong
}

fn timelines_back(writes: &[&Write]) -> Vec<String> {
    let acts = writes
        .iter()
        .map(|w| (u64::from(w.server.timeline), w.sent, w.ended));
    goes_back("the timeline", acts.collect())
}

fn epochs_back(open: &[Open]) -> Vec<String> {
    goes_back(
        "the epoch",
        open.iter().map(|o| (o.epoch, o.sent, o.ended)).collect(),
    )
}

/// Who begins after another has ended must not be lower.
pub(crate) fn goes_back(what: &str, mut acts: Vec<(u64, Duration, Duration)>) -> Vec<String> {
    let mut ends: Vec<(Duration, u64)> = acts.iter().map(|(n, _, ended)| (*ended, *n)).collect();
    ends.sort_unstable();
    acts.sort_unstable_by_key(|(_, sent, _)| *sent);
    let mut highest = 0;
    let mut ends = ends.into_iter().peekable();
    for (number, sent, _) in acts {
        while let Some((_, ended)) = ends.next_if(|(ended, _)| *ended < sent) {
            highest = highest.max(ended);
        }
        if number < highest {
            return vec![format!(
                "{what} went back from {highest} to {number} at {sent:?}"
            )];
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests;
