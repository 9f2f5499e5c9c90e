//! Whether the right one is promoted (P4), judged by what everybody truly has: the evidence in the journal
//! is the decider's own.

use std::collections::BTreeMap;

use pgha_core::command::Primary;
use pgha_core::decide::Heard;
use pgha_core::invariant::Violation;
use pgha_core::journal::Cause;
use pgha_core::{MemberName, Phase, StartKind};

use crate::world::World;

impl World {
    /// A raft leader proposes a promotion: nobody whose answer it has, and who is on the line, has more.
    pub(crate) fn check_choice(&mut self, leader: usize, primary: &Primary) {
        if primary.kind != StartKind::Promotion {
            return;
        }
        let n = &self.nodes[leader];
        let (Phase::Revoked(revoked), Some(sidecar)) = (&n.disk.state.phase, &n.sidecar) else {
            return;
        };
        if revoked.target.is_some() || matches!(revoked.cause, Cause::Switchover) {
            return;
        }
        // A leader that stood still proposes too late: another has named somebody, whom all may have
        // followed since.
        let open = matches!(self.truth.phase, Phase::Revoked(_));
        if !open || self.truth.epoch != primary.epoch {
            return;
        }
        let lease = n.disk.state.settings.lease().lease();
        let now = n.now(self.now);
        let answers = |heard: &&Heard| {
            let standing = heard.report.standing.as_ref();
            let current = standing.is_some_and(|standing| {
                standing.epoch == n.disk.state.epoch
                    && standing.index == revoked.index
                    && !standing.former_primary
            });
            current && heard.refused_at.is_none() && now < heard.at + lease / 2
        };
        let ahead = sidecar.peers.values().filter(answers).find_map(|heard| {
            let other = self.index_of(&heard.report.name)?;
            let data = self.nodes[other].disk.data.as_ref()?;
            let further = data.timeline() == primary.parent && data.end() > primary.lsn;
            let on_line = self.is_on_line(other);
            (further && on_line && heard.report.name != primary.node)
                .then(|| (heard.report.name.clone(), data.end()))
        });
        let Some((other, end)) = ahead else { return };
        self.count("better one passed over");
        self.check(Err(Violation::Promoted {
            epoch: primary.epoch,
            node: primary.node.clone(),
            why: format!(
                "{other} had answered and came to {end}, it to {}",
                primary.lsn
            ),
        }));
    }
}

/// As they were heard, but for the answer of the one that came furthest, where another has answered.
pub(crate) fn without_best(peers: &BTreeMap<MemberName, Heard>) -> BTreeMap<MemberName, Heard> {
    let mut others = peers.clone();
    let standing = |heard: &Heard| heard.report.standing.as_ref().map(|s| s.position.end);
    let answered = peers.values().filter_map(standing).count();
    if answered > 1
        && let Some(best) = others.values_mut().max_by_key(|heard| standing(heard))
    {
        best.report.standing = None;
    }
    others
}
