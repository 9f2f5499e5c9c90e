//! Who leads: votes by what each voter has stored.

use std::collections::BTreeMap;

use pgha_core::RaftId;
use rand::Rng;

use super::Entry;
use crate::check::Failure;
use crate::world::World;

impl World {
    pub(super) fn without_leader(&mut self) {
        let Some(since) = self.raft.lame_since else {
            self.raft.lame_since = Some(self.now);
            self.raft.patience = self.span(300, 900);
            return;
        };
        if self.now < since + self.raft.patience {
            return;
        }
        let fit: Vec<usize> = (0..self.nodes.len())
            .filter(|node| self.may_lead(*node))
            .collect();
        if !fit.is_empty() {
            let pick = self.rng.random_range(0..fit.len());
            self.elect(fit[pick]);
        }
    }

    /// Whether a majority that it reaches has nothing that `node` lacks, and would vote for it (Raft,
    /// 5.4.1).
    pub(super) fn may_lead(&self, node: usize) -> bool {
        let disk = &self.nodes[node].disk;
        let (Some(id), Some(membership)) = (disk.raft_id, self.effective(node)) else {
            return false;
        };
        let stored = disk.stored;
        let voters = self.reached_by(node);
        let voters = voters.filter(|other| self.nodes[*other].disk.stored <= stored);
        let votes = self.ids(voters);
        let votes_itself = membership.sets.iter().any(|set| set.contains(&id));
        self.nodes[node].sidecar_runs()
            && votes_itself
            && membership.quorums().reached(|id| votes.contains(&id))
    }

    /// Whether a majority that the leader reaches could store the next entry now, by its own membership.
    pub(super) fn has_stored_quorum(&self, leader: usize) -> bool {
        let able = self.reached_by(leader);
        let able = self.ids(able.filter(|node| !self.nodes[*node].disk_stalls));
        self.nodes[leader].sidecar_runs()
            && self
                .effective(leader)
                .is_some_and(|m| m.quorums().reached(|id| able.contains(&id)))
    }

    /// Nodes that make a quorum for `entry`, the leader's own first and no more than it takes.
    pub(super) fn needed_for(&mut self, leader: usize, entry: &Entry) -> Vec<usize> {
        let membership = match entry {
            Entry::Voters(membership) => Some(membership.clone()),
            Entry::Command(_) => self.effective(leader),
        };
        let quorums = membership.map(|m| m.quorums()).unwrap_or_default();
        let able = self.reached_by(leader);
        let mut able: Vec<usize> = able
            .filter(|node| *node != leader && !self.nodes[*node].disk_stalls)
            .collect();
        let mut needed = vec![leader];
        while !able.is_empty() {
            let ids = self.ids(needed.iter().copied());
            if quorums.reached(|id| ids.contains(&id)) {
                break;
            }
            let pick = self.rng.random_range(0..able.len());
            needed.push(able.swap_remove(pick));
        }
        needed
    }

    /// `node` wins the next term.
    pub fn elect(&mut self, node: usize) {
        self.count("raft leader elected");
        let generation = self.nodes[node].disk.generation;
        if generation < self.raft.generation {
            let member = self.nodes[node].name.to_string();
            return self.fail(Failure::OldGenerationLeads { member, generation });
        }
        if self.nodes[node].disk.stored < self.raft.log.len() {
            let member = self.nodes[node].name.to_string();
            let (has, committed) = (self.nodes[node].disk.stored, self.raft.log.len());
            return self.fail(Failure::LogLost {
                member,
                has,
                committed,
            });
        }
        self.raft.term += 1;
        self.raft.leader = Some(node);
        self.raft.lame_since = None;
        let term = self.raft.term;
        self.nodes[node].disk.term = term;
        self.trace(Some(node), || format!("leads term {term}"));
        let now = self.nodes[node].now(self.now);
        // Its own newest membership stays, and is committed before anything else.
        if let Some(tail) = &mut self.nodes[node].disk.tail {
            tail.term = term;
        }
        // What an earlier leader had sent to some, the new one may have and then commits.
        for command in std::mem::take(&mut self.raft.limbo) {
            if self.nodes[node].disk.tail.is_none()
                && self.has_stored_quorum(node)
                && self.chance(50)
            {
                self.append(node, Entry::Command(command));
                self.count("late commit");
            }
        }
        let reached = self.reached_by(node);
        let answered: BTreeMap<RaftId, _> =
            self.ids(reached).into_iter().map(|id| (id, now)).collect();
        let committed = self.raft.log.len();
        if let Some(sidecar) = &mut self.nodes[node].sidecar {
            sidecar.raft.leader = Some((node, now));
            sidecar.raft.answers = answered;
            sidecar.raft.committed = committed;
            sidecar.raft.told = true;
        }
        self.send_beats(node);
        self.apply_soon(node);
        self.dirty(node);
    }
}
