//! Whether a data directory is on the cluster's line.
//!
//! PostgreSQL alone does not tell: two promotions from one point give the same timeline number and
//! byte-identical history files, and a twin streams from the other where record boundaries agree.
//! So timelines are assigned, each promotion stores an id of its own in the database, and both are
//! compared before a receiver attaches (P7).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::journal::LostRange;
use crate::{Epoch, ForkId, Lsn, TimelineId};

/// One assigned timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fork {
    /// The epoch whose promotion it was assigned for.
    pub epoch: Epoch,
    /// Where it comes from.
    pub parent: TimelineId,
    /// Where it leaves its parent: what the candidate reported, then what its history file says.
    pub fork_lsn: Lsn,
    /// Stored in the promoted PostgreSQL by its first transaction.
    pub fork_id: ForkId,
    /// End of the record that stored it; absent until the gate opened.
    pub fork_row_lsn: Option<Lsn>,
}

/// Every timeline ever assigned, and the one that is the cluster's line.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lineage {
    /// The root timeline: of `initdb`, or of an adopted directory.
    pub root: TimelineId,
    /// The timeline whose primary opened last: the end of the line.
    pub head: TimelineId,
    /// Assigned timelines. The root has no entry.
    pub forks: BTreeMap<TimelineId, Fork>,
    /// The highest number ever assigned or seen.
    pub highest: TimelineId,
}

/// What a data directory holds, as PostgreSQL shows it once it has replayed what it has.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// The timeline of its last record.
    pub timeline: TimelineId,
    /// End of its WAL.
    pub end: Lsn,
    /// Fork ids found in the database.
    pub fork_ids: BTreeMap<TimelineId, ForkId>,
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
    /// A line with its root only.
    pub const fn new(root: TimelineId) -> Self {
        Self {
            root,
            head: root,
            forks: BTreeMap::new(),
            highest: root,
        }
    }

    /// The timelines from the root to `timeline`, root first, each with where it ends (none for
    /// `timeline` itself). `None` where `timeline` was never assigned.
    pub fn path_to(&self, timeline: TimelineId) -> Option<Vec<(TimelineId, Option<Lsn>)>> {
        let mut path = vec![(timeline, None)];
        let mut at = timeline;
        while at != self.root {
            let fork = self.forks.get(&at)?;
            // Numbers grow along a line; anything else would loop.
            if fork.parent >= at {
                return None;
            }
            path.push((fork.parent, Some(fork.fork_lsn)));
            at = fork.parent;
        }
        path.reverse();
        Some(path)
    }

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

    /// What a position has beyond the line that ends in `target`, and the epoch that the line left it
    /// with: to be told before it is given up.
    pub fn given_up(&self, position: &Position, target: TimelineId) -> Option<(Epoch, LostRange)> {
        let Verdict::Diverged { at } = self.judge(position, target) else {
            return None;
        };
        let path = self.path_to(target)?;
        let own = self.path_to(position.timeline)?;
        let on_path = |timeline: &TimelineId| path.iter().any(|(t, _)| t == timeline);
        let common = own.iter().rev().map(|(t, _)| *t).find(on_path)?;
        let next = path.iter().map(|(t, _)| *t).find(|t| *t > common)?;
        let epoch = self.forks.get(&next)?.epoch;
        let range = LostRange {
            from: at,
            to: position.end,
            is_final: true,
        };
        (range.bytes() > 0).then_some((epoch, range))
    }

    /// The next timeline to assign: one more than any assigned, or seen on a member (somebody may
    /// have promoted by hand).
    pub fn next(&self, seen: impl IntoIterator<Item = TimelineId>) -> TimelineId {
        seen.into_iter().fold(self.highest, TimelineId::max).next()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn fork(parent: u32, lsn: u64, id: &str) -> Fork {
        Fork {
            epoch: Epoch(u64::from(parent) + 1),
            parent: TimelineId(parent),
            fork_lsn: Lsn(lsn),
            fork_id: id.into(),
            fork_row_lsn: Some(Lsn(lsn + 10)),
        }
    }

    fn position(timeline: u32, end: u64, ids: &[(u32, &str)]) -> Position {
        Position {
            timeline: TimelineId(timeline),
            end: Lsn(end),
            fork_ids: ids
                .iter()
                .map(|(t, id)| (TimelineId(*t), (*id).into()))
                .collect(),
        }
    }

    /// 1 -> 2 at 100 -> 4 at 200; 3 was assigned out of 2 at 150 and never opened.
    fn lineage() -> Lineage {
        let mut lineage = Lineage::new(TimelineId(1));
        lineage.forks.insert(TimelineId(2), fork(1, 100, "b"));
        lineage.forks.insert(TimelineId(3), fork(2, 150, "x"));
        lineage.forks.insert(TimelineId(4), fork(2, 200, "c"));
        lineage.head = TimelineId(4);
        lineage.highest = TimelineId(4);
        lineage
    }

    #[test]
    fn an_ancestor_is_on_line_up_to_its_end() {
        let lineage = lineage();
        assert_eq!(
            lineage.judge(&position(1, 100, &[]), TimelineId(4)),
            Verdict::OnLine
        );
        assert_eq!(
            lineage.judge(&position(1, 101, &[]), TimelineId(4)),
            Verdict::Diverged { at: Lsn(100) }
        );
        assert_eq!(
            lineage.judge(&position(2, 200, &[(2, "b")]), TimelineId(4)),
            Verdict::OnLine
        );
    }

    #[test]
    fn a_twin_with_the_same_number_is_an_impostor() {
        let lineage = lineage();
        for ids in [&[][..], &[(2, "other")][..]] {
            let verdict = lineage.judge(&position(2, 120, ids), TimelineId(4));
            assert!(matches!(verdict, Verdict::Impostor { .. }), "{verdict:?}");
        }
    }

    #[test]
    fn an_attempt_that_never_opened_is_rewound_to_its_fork() {
        let lineage = lineage();
        let attempt = position(3, 170, &[(2, "b"), (3, "x")]);
        assert_eq!(
            lineage.judge(&attempt, TimelineId(4)),
            Verdict::Diverged { at: Lsn(150) }
        );
        assert_eq!(
            lineage.may_lead(&attempt),
            Verdict::Diverged { at: Lsn(150) }
        );
    }

    #[test]
    fn an_attempt_out_of_the_head_may_lead_when_it_proves_itself() {
        let mut lineage = lineage();
        lineage.forks.insert(TimelineId(5), fork(4, 300, "y"));
        lineage.highest = TimelineId(5);
        if let Some(attempt) = lineage.forks.get_mut(&TimelineId(5)) {
            attempt.fork_row_lsn = None;
        }
        let ids = [(2, "b"), (4, "c"), (5, "y")];
        assert_eq!(lineage.may_lead(&position(5, 310, &ids)), Verdict::OnLine);
        assert!(matches!(
            lineage.may_lead(&position(5, 310, &ids[..2])),
            Verdict::Impostor { .. }
        ));
        assert_eq!(
            lineage.may_lead(&position(4, 310, &ids[..2])),
            Verdict::OnLine
        );
        assert!(lineage.lacks_only_own_row(&position(5, 310, &ids[..2])));
        assert!(!lineage.lacks_only_own_row(&position(5, 310, &ids[..1])));
        assert!(!lineage.lacks_only_own_row(&position(5, 310, &[ids[0], ids[1], (5, "z")])));
    }

    #[test]
    fn what_is_given_up_is_told_with_the_epoch_that_left_it() {
        let lineage = lineage();
        let told = |p: &Position| lineage.given_up(p, TimelineId(4));
        let range = |from, to| LostRange {
            from: Lsn(from),
            to: Lsn(to),
            is_final: true,
        };
        // Timeline 2 was assigned for epoch 2, timelines 3 and 4 for epoch 3 (see `fork`).
        assert_eq!(
            told(&position(1, 130, &[])),
            Some((Epoch(2), range(100, 130)))
        );
        assert_eq!(
            told(&position(2, 230, &[(2, "b")])),
            Some((Epoch(3), range(200, 230)))
        );
        assert_eq!(told(&position(2, 200, &[(2, "b")])), None);
        assert_eq!(told(&position(7, 900, &[])), None);
    }

    #[test]
    fn a_decision_for_an_ancestor_of_the_head_holds() {
        let mut lineage = lineage();
        // Nobody but a member at the fork of timeline 4 was left, and it died before it was known to
        // have opened.
        lineage.forks.insert(TimelineId(5), fork(2, 200, "y"));
        lineage.highest = TimelineId(5);
        let attempt = position(5, 260, &[(2, "b"), (5, "y")]);
        assert_eq!(lineage.may_lead(&attempt), Verdict::OnLine);
    }

    #[test]
    fn what_grew_out_of_an_attempt_without_a_row_proves_itself() {
        let mut lineage = lineage();
        lineage.forks.insert(TimelineId(5), fork(4, 300, "y"));
        if let Some(attempt) = lineage.forks.get_mut(&TimelineId(5)) {
            attempt.fork_row_lsn = None;
        }
        lineage.forks.insert(TimelineId(6), fork(5, 320, "w"));
        let ids = [(2, "b"), (4, "c"), (6, "w")];
        let judged = lineage.judge(&position(6, 400, &ids), TimelineId(6));
        assert_eq!(judged, Verdict::OnLine);
        let wrong = [(2, "b"), (4, "c"), (5, "other"), (6, "w")];
        let judged = lineage.judge(&position(6, 400, &wrong), TimelineId(6));
        assert!(matches!(judged, Verdict::Impostor { .. }), "{judged:?}");
    }

    #[test]
    fn a_promotion_by_hand_is_off_the_line_and_its_number_is_skipped() {
        let lineage = lineage();
        let by_hand = position(7, 90, &[]);
        assert!(matches!(
            lineage.may_lead(&by_hand),
            Verdict::Diverged { .. }
        ));
        assert_eq!(lineage.next([by_hand.timeline]), TimelineId(8));
        assert_eq!(lineage.next([]), TimelineId(5));
    }

    #[test]
    fn a_promotion_by_hand_that_took_an_assigned_number_is_an_impostor() {
        let lineage = lineage();
        let verdict = lineage.may_lead(&position(4, 90, &[(2, "b")]));
        assert!(matches!(verdict, Verdict::Impostor { .. }));
    }
}
