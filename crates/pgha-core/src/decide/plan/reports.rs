//! Every member's newest report, as the raft leader sees them.

use crate::decide::{Decision, Input, tell};
use crate::report::{MemberReport, ReleaseNote};
use crate::{Epoch, Lsn, MemberName, TimelineId};

/// Every member's newest report with its age, this member's own made on the spot.
pub(in crate::decide) struct Reports<'a> {
    own: Option<MemberReport>,
    input: &'a Input<'a>,
}

impl<'a> Reports<'a> {
    pub(super) fn of(input: &'a Input<'a>, decision: &Decision) -> Self {
        Self {
            own: tell::report(input, &decision.why),
            input,
        }
    }

    /// The report of `name` if it was heard within half a lease and does not refuse connections.
    pub(in crate::decide) fn fresh(&self, name: &MemberName) -> Option<&MemberReport> {
        if *name == self.input.me.name {
            return self.own.as_ref();
        }
        let heard = self.input.peers.get(name)?;
        let recent = self.input.now < heard.at + self.input.state.settings.lease().lease() / 2;
        (recent && heard.refused_at.is_none_or(|at| at < heard.at)).then_some(&heard.report)
    }

    /// The fresh report of every member of the cluster that has one.
    pub(in crate::decide) fn all_fresh(&self) -> impl Iterator<Item = &MemberReport> {
        self.input
            .state
            .members
            .keys()
            .filter_map(|name| self.fresh(name))
    }

    /// The release of `epoch`, by whomever it was verified.
    pub(in crate::decide) fn released(&self, epoch: Epoch) -> Option<&ReleaseNote> {
        let of = |report: &'a MemberReport| {
            (report.grant.epoch == epoch)
                .then_some(report.grant.released.as_ref())
                .flatten()
        };
        let heard = self
            .input
            .peers
            .values()
            .filter_map(|heard| of(&heard.report))
            .next();
        let own = self.own.as_ref().filter(|own| own.grant.epoch == epoch);
        own.and_then(|own| own.grant.released.as_ref()).or(heard)
    }

    /// The highest flush position that a holder of `epoch` told anybody.
    pub(in crate::decide) fn flush_lsn(&self, epoch: Epoch) -> Option<Lsn> {
        let peers = self.input.peers.values().map(|heard| &heard.report);
        peers
            .chain(self.own.as_ref())
            .filter(|report| report.grant.epoch == epoch)
            .filter_map(|report| report.grant.flush_lsn)
            .max()
    }

    /// Whether a quorum of the voters know all that the holder of `epoch` told them. Whatever quorum
    /// granted it last, one of these was in it; where none of them was told anything, there was no such
    /// quorum, and nobody served. Fewer may have heard of it last long ago.
    pub(in crate::decide) fn quorum_remembers(&self, epoch: Epoch) -> bool {
        let remembers = |name: &MemberName| {
            self.fresh(name)
                .is_some_and(|report| report.grant.epoch == epoch && report.grant.remembers)
        };
        let voters = &self.input.raft.voters;
        let quorums = &self.input.raft.quorums;
        quorums.reached(|id| voters.get(&id).is_some_and(remembers))
    }

    /// Whether a voter that answers has not adopted the newest epoch yet: until then it may be told more.
    pub(in crate::decide) fn a_voter_may_tell(&self) -> bool {
        let newest = self.input.state.epoch;
        let mut voters = self.input.raft.voters.values();
        voters.any(|name| {
            self.fresh(name)
                .is_some_and(|report| report.adopted < newest)
        })
    }

    /// Every timeline that anybody is on.
    pub(in crate::decide) fn timelines(&self) -> impl Iterator<Item = TimelineId> {
        let peers = self.input.peers.values().map(|heard| &heard.report);
        peers.chain(self.own.as_ref()).flat_map(|report| {
            report
                .timeline
                .into_iter()
                .chain(report.standing.as_ref().map(|s| s.position.timeline))
        })
    }
}
