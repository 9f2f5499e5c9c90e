//! The data of another member in the place of one's own: by a clone, or as `pg_rewind` does it.

use std::collections::BTreeMap;

use pgha_core::decide::JobDone;
use pgha_core::invariant;
use pgha_core::{Epoch, MemberName, TimelineId};

use crate::mutant::Mutant;
use crate::wal::DataDirectory;
use crate::world::World;

/// A clone is whole at once; what was lost was said before it was gone.
const REPLACED: JobDone = JobDone::Replaced {
    lost: None,
    rewound: None,
};

impl World {
    pub(crate) fn answers(&self, node: usize, from: &MemberName) -> bool {
        self.index_of(from)
            .is_some_and(|source| self.linked(node, source) && self.nodes[source].postgres_runs())
    }

    /// Who asks for a session that writes is refused by a standby.
    pub(crate) fn answers_as_primary(&self, node: usize, from: &MemberName) -> bool {
        let source = self.index_of(from).map(|source| &self.nodes[source]);
        self.answers(node, from) && source.is_some_and(|source| source.writable())
    }

    /// The timeline that this node's data is on, where it knows of nobody who assigned it.
    pub(crate) fn unassigned(&self, node: usize) -> Option<TimelineId> {
        let n = &self.nodes[node];
        let settled = n.sidecar.as_ref()?.local.settled.as_ref()?;
        let known = n.disk.state.lineage.path_to(settled.timeline).is_some();
        (!known).then_some(settled.timeline)
    }

    /// The data of `from`, if it can be copied right now and was begun to be.
    fn source(&mut self, node: usize, from: &MemberName) -> Option<DataDirectory> {
        let source = self.index_of(from)?;
        let good = self.answers(node, from)
            && self.nodes[node].disk.marker
            && !self.fault_chance(self.profile.job_fails_percent);
        let data = self.nodes[source].disk.data.as_ref()?;
        let mut copy = DataDirectory {
            slots: BTreeMap::new(),
            clean: false,
            never_replayed: true,
            ..data.clone()
        };
        // WAL is sent once it is flushed, and no page is on the disk before its WAL.
        copy.lose_unflushed();
        good.then_some(copy)
    }

    pub(crate) fn clone_from(&mut self, node: usize, from: &MemberName) {
        match self.source(node, from) {
            Some(copy) => {
                self.count_fork(node, &copy);
                self.nodes[node].disk.data = Some(copy);
                self.count("clone");
                self.unmark(node, REPLACED);
            }
            None => self.job_failed(node, "the source ended"),
        }
    }

    /// What a member had beyond the point where it left the line of `copy`, if anything.
    fn count_fork(&mut self, node: usize, copy: &DataDirectory) {
        let Some(own) = &self.nodes[node].disk.data else {
            return;
        };
        let (common, by_number) = (own.common_with(copy), own.common_by_history(copy).1);
        if own.end() > common {
            self.count("fork given up");
        }
        if by_number > common {
            self.count("twin given up");
        }
    }

    /// As `pg_rewind` does: finds the fork by numbers, and believes them.
    pub(crate) fn rewind_to(
        &mut self,
        node: usize,
        from: &MemberName,
        epoch: Epoch,
        unassigned: Option<TimelineId>,
    ) {
        let primary = self.answers_as_primary(node, from);
        let Some(mut copy) = self.source(node, from).filter(|_| primary) else {
            return self.job_failed(node, "the source ended");
        };
        let Some(own) = &self.nodes[node].disk.data else {
            return self.job_failed(node, "there is no data");
        };
        if copy.control_timeline != copy.timeline() {
            return self.job_failed(node, "the source has not checkpointed on its timeline");
        }
        let (timeline, believed) = own.common_by_history(&copy);
        let truly = own.common_with(&copy);
        if unassigned == Some(timeline) {
            self.count("rewind to a twin refused");
            return self.job_failed(node, "the source has another timeline of that number");
        }
        let judged = invariant::one_history(&self.nodes[node].name, from, believed, truly);
        if judged.is_err() {
            return self.check(judged);
        }
        self.count_fork(node, &copy);
        // The pages are as new as the source; the WAL between its checkpoint and them is copied or not.
        if !self.is(Mutant::RewoundAnswersEarly) {
            copy.consistent_at = copy.end();
        }
        copy.rewound = Some(epoch);
        if self.chance(50) {
            let redo = copy.redo;
            copy.wal.retain(|record| record.end <= redo);
            copy.flushed = copy.end();
        }
        self.nodes[node].disk.data = Some(copy);
        self.count("rewind");
        let done = JobDone::Replaced {
            lost: None,
            rewound: Some(epoch),
        };
        self.unmark(node, done);
    }
}
