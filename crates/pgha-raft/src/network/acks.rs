//! When the others last acknowledged this member as their leader.
//!
//! openraft keeps such a figure too, by a clock that stops while the host is suspended: a leader
//! that slept for an hour would find its quorum fresh.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use pgha_core::Mono;

use crate::types::Vote;

/// Send times of what was acknowledged, for one leadership.
#[derive(Default)]
pub(crate) struct Acks {
    inner: Mutex<Sends>,
}

#[derive(Default)]
struct Sends {
    /// Term and id of the leadership that they count for.
    leadership: (u64, u64),
    newest: BTreeMap<u64, Mono>,
}

impl Acks {
    /// `from` accepted what was sent at `sent` under `vote`. The send counts, not the answer: at
    /// that moment at the latest nobody else led with its consent.
    pub(crate) fn record(&self, vote: &Vote, from: u64, sent: Mono) {
        let leadership = leadership(vote);
        let mut sends = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if sends.leadership < leadership {
            *sends = Sends {
                leadership,
                newest: BTreeMap::new(),
            };
        }
        if sends.leadership == leadership {
            let newest = sends.newest.entry(from).or_insert(sent);
            *newest = sent.max(*newest);
        }
    }

    /// When a quorum of every set last acknowledged `me` as the leader of `vote`; none if never.
    pub(crate) fn quorum(
        &self,
        vote: &Vote,
        me: u64,
        now: Mono,
        voters: &[BTreeSet<u64>],
    ) -> Option<Mono> {
        let sends = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let known = sends.leadership == leadership(vote);
        let last = |id: &u64| match id {
            id if *id == me => Some(now),
            id => sends.newest.get(id).copied().filter(|_| known),
        };
        voters
            .iter()
            .map(|set| {
                let mut times: Vec<_> = set.iter().map(last).collect();
                times.sort_unstable();
                // The majority-th newest.
                times.into_iter().rev().nth(set.len() / 2).flatten()
            })
            .min()
            .flatten()
    }

    /// Who acknowledged `vote` at `since` or later.
    pub(crate) fn alive(&self, vote: &Vote, since: Mono) -> BTreeSet<u64> {
        let sends = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if sends.leadership != leadership(vote) {
            return BTreeSet::new();
        }
        let recent = sends.newest.iter().filter(|&(_, sent)| *sent >= since);
        recent.map(|(&id, _)| id).collect()
    }
}

fn leadership(vote: &Vote) -> (u64, u64) {
    (vote.leader_id.term, vote.leader_id.node_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::from_millis(millis)
    }

    #[test]
    fn a_quorum_of_every_set_counts_by_its_send() {
        let acks = Acks::default();
        let vote = Vote::new_committed(3, 1);
        let sets = |sets: &[&[u64]]| -> Vec<BTreeSet<u64>> {
            sets.iter()
                .map(|set| set.iter().copied().collect())
                .collect()
        };
        let quorum = |voters: &[&[u64]]| acks.quorum(&vote, 1, at(100), &sets(voters));

        assert_eq!(quorum(&[&[1]]), Some(at(100)));
        assert_eq!(quorum(&[&[1, 2, 3]]), None);
        acks.record(&vote, 2, at(40));
        acks.record(&vote, 2, at(30));
        assert_eq!(quorum(&[&[1, 2, 3]]), Some(at(40)));
        assert_eq!(quorum(&[&[1, 2]]), Some(at(40)));
        assert_eq!(quorum(&[&[1, 2, 3, 4, 5]]), None);
        acks.record(&vote, 3, at(50));
        assert_eq!(quorum(&[&[1, 2, 3]]), Some(at(50)));
        assert_eq!(quorum(&[&[1, 2, 3], &[2, 4, 5]]), None);
        acks.record(&vote, 4, at(20));
        assert_eq!(quorum(&[&[1, 2, 3], &[2, 4, 5]]), Some(at(20)));
        assert_eq!(quorum(&[]), None);

        // A late answer of an older leadership says nothing about this one, nor the reverse.
        acks.record(&Vote::new_committed(2, 1), 5, at(90));
        assert_eq!(acks.alive(&vote, at(40)), BTreeSet::from([2, 3]));
        acks.record(&Vote::new_committed(4, 1), 2, at(95));
        assert_eq!(quorum(&[&[1, 2, 3]]), None);
    }
}
