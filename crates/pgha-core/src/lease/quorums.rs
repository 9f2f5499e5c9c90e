//! Majorities of voters, also while the membership changes.

use std::collections::BTreeSet;

use crate::{Mono, RaftId};

/// Sets of voters, in each of which a majority is needed: every half of the last committed and of
/// the effective membership.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Quorums(Vec<BTreeSet<RaftId>>);

impl Quorums {
    /// From the voter sets of both memberships; equal ones count once.
    pub fn new(sets: impl IntoIterator<Item = BTreeSet<RaftId>>) -> Self {
        let mut unique: Vec<BTreeSet<RaftId>> = Vec::new();
        for set in sets {
            if !unique.contains(&set) {
                unique.push(set);
            }
        }
        Self(unique)
    }

    /// Whom a holder has to ask, of the memberships that its node has: the newest that it stored, committed or
    /// not (Raft, section 6), the one before that, and the one that it has applied. Where it has not
    /// applied the newest, `settled` is false: what it has applied may be far behind what is committed, and
    /// the one before the newest, which is committed for certain, counts as well. More halves are only
    /// stricter.
    pub fn to_ask<'a>(
        settled: bool,
        before: impl IntoIterator<Item = &'a BTreeSet<RaftId>>,
        applied: impl IntoIterator<Item = &'a BTreeSet<RaftId>>,
        newest: impl IntoIterator<Item = &'a BTreeSet<RaftId>>,
    ) -> Self {
        let before = before.into_iter().filter(|_| !settled);
        let sets = before.chain(applied).chain(newest);
        Self::new(sets.cloned())
    }

    /// Whether the voters change: there is more than one set.
    pub const fn are_changing(&self) -> bool {
        self.0.len() > 1
    }

    /// Everybody in any of the sets.
    pub fn voters(&self) -> BTreeSet<RaftId> {
        self.0.iter().flatten().copied().collect()
    }

    /// Whether `yes` holds a majority of each set. Without voters there is no quorum.
    pub fn reached(&self, yes: impl Fn(RaftId) -> bool) -> bool {
        !self.0.is_empty()
            && self.0.iter().all(|set| {
                let count = set.iter().filter(|id| yes(**id)).count();
                count > set.len() / 2
            })
    }

    /// The newest time that a majority of each set has reached: per set the q-th newest, and of
    /// these the oldest.
    pub fn reached_at(&self, newest: impl Fn(RaftId) -> Option<Mono>) -> Option<Mono> {
        let per_set = self.0.iter().map(|set| {
            let mut times: Vec<Mono> = set.iter().filter_map(|id| newest(*id)).collect();
            times.sort_unstable_by(|a, b| b.cmp(a));
            times.get(set.len() / 2).copied()
        });
        // One set without a majority spoils all; no set is no quorum.
        per_set.collect::<Option<Vec<_>>>()?.into_iter().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn until_the_newest_is_applied_the_one_before_it_has_to_agree_too() {
        let sets =
            [[1, 2, 3], [2, 3, 4], [3, 4, 5]].map(|set| vec![BTreeSet::from(set.map(RaftId))]);
        let [applied, before, newest] = &sets;
        let without_two = |id: RaftId| id.0 >= 4 || id.0 == 1 || id.0 == 3;
        let unsettled = Quorums::to_ask(false, before, applied, newest);
        assert!(unsettled.reached(without_two));
        assert!(
            !unsettled.reached(|id| [1, 3, 5].contains(&id.0)),
            "of 2, 3, 4 only one"
        );
        assert!(
            !unsettled.reached(|id| [3, 4, 5].contains(&id.0)),
            "of 1, 2, 3 only one"
        );
        let settled = Quorums::to_ask(true, before, newest, newest);
        assert!(settled.reached(|id| [4, 5].contains(&id.0)));
        assert!(!settled.are_changing());
    }

    #[test]
    fn a_joint_membership_needs_a_majority_of_each_half() {
        let old: BTreeSet<_> = [1, 2, 3].map(RaftId).into();
        let new: BTreeSet<_> = [3, 4, 5].map(RaftId).into();
        let joint = Quorums::new([old, new]);
        assert!(!joint.reached(|id| id.0 <= 3));
        assert!(joint.reached(|id| id.0 >= 2 && id.0 <= 4));
        assert!(!Quorums::default().reached(|_| true));
        assert_eq!(Quorums::default().reached_at(|_| Some(Mono::ZERO)), None);
        let times = |id: RaftId| (id.0 != 5).then(|| Mono::from_millis(id.0 * 10));
        // Old half: 2nd newest of 10, 20, 30 is 20. New half: 2nd newest of 30, 40 is 30.
        assert_eq!(joint.reached_at(times), Some(Mono::from_millis(20)));
    }
}
