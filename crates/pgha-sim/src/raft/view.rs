//! What decisions see of Raft.

use std::collections::BTreeMap;

use pgha_core::decide::RaftView;
use pgha_core::{MemberName, RaftId};

use crate::world::World;

/// A leader whose last quorum answer is older than this refuses commands.
const LEADER_LEASE: std::time::Duration = std::time::Duration::from_millis(600);

impl World {
    /// Computes it; a change of it wakes the agent.
    pub fn refresh_view(&mut self, node: usize) {
        let now = self.nodes[node].now(self.now);
        let Some(membership) = self.effective(node) else {
            return;
        };
        let quorums = membership.quorums();
        let name = |index: usize| self.nodes[index].name.clone();
        let voters: BTreeMap<RaftId, MemberName> = quorums
            .voters()
            .into_iter()
            .filter_map(|id| Some((id, name(*membership.nodes.get(&id)?))))
            .collect();
        let leader_name = self.nodes[node].sidecar.as_ref();
        let leader_name = leader_name.and_then(|s| Some(name(s.raft.leader?.0)));
        let own = self.nodes[node].disk.raft_id;
        let Some(sidecar) = &mut self.nodes[node].sidecar else {
            return;
        };
        let raft = &mut sidecar.raft;
        let i_lead = raft.leader.is_some_and(|(leader, _)| leader == node);
        let newest = quorums.reached_at(|id| {
            if own == Some(id) {
                Some(now)
            } else {
                raft.answers.get(&id).copied()
            }
        });
        let leads = i_lead && newest.is_some_and(|at| now.since(at) < LEADER_LEASE);
        let heard = raft
            .leader
            .is_some_and(|(leader, at)| leader != node && now.since(at) < LEADER_LEASE);
        let view = RaftView {
            leader: leader_name,
            leads,
            quorum: leads || heard,
            quorums,
            voters,
            transfer_tried: raft.transfer_tried,
        };
        let changed = raft.view != view;
        raft.view = view;
        if changed {
            self.dirty(node);
        }
    }
}
