//! Compares a position with the line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Lineage;
use crate::{ForkId, Lsn, TimelineId};

/// What a data directory holds, as PostgreSQL shows it once it has replayed what it has.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// The timeline of its last record.
    pub timeline: TimelineId,
    /// End of its WAL.
    pub end: Lsn,
    /// Fork ids found in the database.
    pub fork_ids: BTreeMap<TimelineId, ForkId>,
    /// Where it left each earlier timeline, by its own history file. Empty where it never left one, and
    /// in what others report: only the member itself tells what it gives up.
    #[serde(skip)]
    pub left: BTreeMap<TimelineId, Lsn>,
}

/// The verdict on a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// On the line to the target: it may follow, or be promoted.
    OnLine,
    /// It left the line at this point and can be rewound to it.
    Diverged {
        /// The last common position.
        at: Lsn,
    },
    /// It says it is of an assigned timeline and cannot prove it: timeline numbers do not help, so
    /// neither does `pg_rewind` (faults of this kind rewind to nothing). Only a clone does.
    Impostor {
        /// What did not match.
        why: String,
    },
}

impl Lineage {
    /// Judges a position against the line that ends in `target`.
    pub fn judge(&self, position: &Position, target: TimelineId) -> Verdict {
        if let Some(why) = self.impostor(position) {
            return Verdict::Impostor { why };
        }
        let Some(path) = self.path_to(target) else {
            return Verdict::Impostor {
                why: format!("timeline {target} was never assigned"),
            };
        };
        if let Some((_, end)) = path
            .iter()
            .find(|(timeline, _)| *timeline == position.timeline)
        {
            return match end {
                Some(end) if position.end > *end => Verdict::Diverged { at: *end },
                Some(_) | None => Verdict::OnLine,
            };
        }
        Verdict::Diverged {
            at: self.last_common(position.timeline, &path),
        }
    }

    /// Whether a promoted replica may be `position`: on the line to the head, or on a timeline that was
    /// assigned after the head opened. What was assigned was decided; it may have grown out of an
    /// ancestor of the head, where nobody had more, and it may have served unknown to the log.
    pub fn may_lead(&self, position: &Position) -> Verdict {
        let newer = position.timeline > self.head && self.forks.contains_key(&position.timeline);
        let target = if newer { position.timeline } else { self.head };
        self.judge(position, target)
    }

    /// Whether the only thing that speaks against a position is that the row of its last timeline is
    /// missing, and that timeline is not known to have opened: so it is with whoever was promoted to
    /// it and died before the row was stored.
    pub fn lacks_only_own_row(&self, position: &Position) -> bool {
        let Some(fork) = self.forks.get(&position.timeline) else {
            return false;
        };
        let mut with_row = position.clone();
        let missing = with_row
            .fork_ids
            .insert(position.timeline, fork.fork_id.clone())
            .is_none();
        missing
            && fork.fork_row_lsn.is_none()
            && matches!(self.may_lead(&with_row), Verdict::OnLine)
    }

    /// An ancestor that is not known to have opened may never have got its row; what grew out of it
    /// has one of its own.
    fn impostor(&self, position: &Position) -> Option<String> {
        let path = self.path_to(position.timeline)?;
        path.iter()
            .filter_map(|(timeline, _)| Some((timeline, self.forks.get(timeline)?)))
            .filter(|(timeline, fork)| {
                **timeline == position.timeline
                    || fork.fork_row_lsn.is_some()
                    || position.fork_ids.contains_key(timeline)
            })
            .find_map(|(timeline, fork)| match position.fork_ids.get(timeline) {
                Some(found) if *found == fork.fork_id => None,
                Some(found) => Some(format!(
                    "timeline {timeline} carries fork id {found}, committed is {}",
                    fork.fork_id
                )),
                None => Some(format!(
                    "timeline {timeline} lacks the fork id {}",
                    fork.fork_id
                )),
            })
    }

    /// How much of the line that ends in `timeline` a position has: its end, or where the two part.
    pub fn shared(&self, position: &Position, timeline: TimelineId) -> Lsn {
        let paths = self.path_to(timeline).zip(self.path_to(position.timeline));
        let parted = paths.and_then(|(path, own)| {
            own.iter().rev().find_map(|(candidate, left)| {
                let (_, ours) = path.iter().find(|(t, _)| t == candidate)?;
                Some(left.iter().chain(ours).copied().min())
            })
        });
        let parted = parted.flatten();
        parted.map_or(position.end, |parted| parted.min(position.end))
    }

    fn last_common(&self, timeline: TimelineId, path: &[(TimelineId, Option<Lsn>)]) -> Lsn {
        let Some(own) = self.path_to(timeline) else {
            // Promoted by hand: where it left is in its own history file, which pg_rewind reads.
            return Lsn::ZERO;
        };
        own.iter()
            .rev()
            .find_map(|(candidate, left)| {
                let (_, ours) = path.iter().find(|(t, _)| t == candidate)?;
                Some(match (left, ours) {
                    (Some(left), Some(ours)) => *left.min(ours),
                    (Some(one), None) | (None, Some(one)) => *one,
                    (None, None) => Lsn::ZERO,
                })
            })
            .unwrap_or(Lsn::ZERO)
    }
}
