//! Whether a data directory is on the cluster's line.
//!
//! PostgreSQL alone does not tell: two promotions from one point give the same timeline number and
//! byte-identical history files, and a twin streams from the other where record boundaries agree.
//! So timelines are assigned, each promotion stores an id of its own in the database, and both are
//! compared before a receiver attaches (P7).

mod given_up;
mod judge;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Epoch, ForkId, Lsn, TimelineId};

pub use judge::{Position, Verdict};

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

    /// The next timeline to assign: one more than any assigned, or seen on a member (somebody may
    /// have promoted by hand).
    pub fn next(&self, seen: impl IntoIterator<Item = TimelineId>) -> TimelineId {
        seen.into_iter().fold(self.highest, TimelineId::max).next()
    }
}
