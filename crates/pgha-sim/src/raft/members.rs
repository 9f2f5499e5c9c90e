//! Members and their stores: who is in the cluster, who lost its store, and how it comes back.

use std::collections::{BTreeMap, BTreeSet};

use pgha_core::{Addresses, Command, Member, MemberName, RaftId, StoreId};

use crate::event::NodeEvent;
use crate::mutant::Mutant;
use crate::world::World;

impl World {
    /// A member without a place in the group asks for one, and again until it has it.
    pub(crate) fn asks_for_place(&mut self, node: usize) {
        let again = self.span(300, 700);
        self.sidecar_in(node, again, NodeEvent::SidecarStarts);
        let leader = self.raft.leader;
        let Some(leader) = leader.filter(|l| self.has_quorum(*l) && self.linked(node, *l)) else {
            return;
        };
        let name = self.nodes[node].name.clone();
        let store = StoreId::from(self.nodes[node].disk.store.clone());
        let state = &self.nodes[leader].disk.state;
        let Some(known) = state.members.get(&name).cloned() else {
            return;
        };
        let ruled_out = state.is_ruled_out(&known);
        if known.store_id == store {
            self.count("wiped member taken back");
            let generation = self.nodes[leader].disk.generation;
            let disk = &mut self.nodes[node].disk;
            disk.raft_id = Some(known.raft_id);
            disk.generation = generation;
            return;
        }
        if ruled_out {
            self.count("ruled out member asks for a place");
        }
        let ids = self.nodes[leader].disk.state.members.values();
        let ids = ids.map(|member| member.raft_id);
        let used = self.effective(leader).into_iter();
        let used = used.flat_map(|membership| membership.nodes.into_keys());
        let highest = ids.chain(used).map(|id| id.0).max().unwrap_or(0);
        let member = Member {
            raft_id: RaftId(highest + 1),
            store_id: store,
            ..known.clone()
        };
        let command = Command::PutMember {
            name,
            replaces: Some(known.raft_id),
            member,
        };
        self.propose(leader, command);
    }

    /// The Raft store is gone, with all that was promised in it. At most one at a time: more is for an
    /// operator, and what a quorum stored has to be on somebody's disk.
    pub(crate) fn wipe_store(&mut self, node: usize) {
        if !self.everybody_votes() || self.nodes.len() < 3 || !self.nodes[node].up {
            return;
        }
        self.die(node, true);
        self.count("store wiped");
        self.forget_store(node);
        if !self.is(Mutant::OldIdVotes) {
            self.nodes[node].disk.raft_id = None;
        }
        self.chronicle(node, || "its Raft store is gone".to_owned());
    }

    /// Whether everybody has a vote by what he has stored, in the generation that goes on.
    pub(super) fn everybody_votes(&self) -> bool {
        (0..self.nodes.len()).all(|node| {
            let disk = &self.nodes[node].disk;
            let votes = disk
                .raft_id
                .zip(self.effective(node))
                .is_some_and(|(id, m)| m.sets.len() == 1 && m.sets[0].contains(&id));
            votes && disk.generation == self.raft.generation
        })
    }

    /// A new store.
    pub(super) fn forget_store(&mut self, node: usize) {
        let store = format!("s{}", self.fresh_id());
        let disk = &mut self.nodes[node].disk;
        disk.adopted = pgha_core::Epoch::NONE;
        disk.told = None;
        disk.term = 0;
        disk.stored = 0;
        disk.applied = 0;
        disk.state = pgha_core::ClusterState::default();
        disk.tail = None;
        disk.store = store;
    }

    /// What each node is at the start.
    pub(crate) fn listed(&self) -> BTreeMap<MemberName, Member> {
        let members = self.nodes.iter().enumerate().map(|(index, node)| {
            let addresses = Addresses {
                postgres: format!("{}:5433", node.name),
                ..Addresses::default()
            };
            let store = StoreId::from(node.disk.store.clone());
            let id = RaftId(index as u64 + 1);
            let mut member = Member::new(node.kind, id, store, addresses);
            member.priority = 100 + u32::try_from(index % 2).unwrap_or(0);
            (node.name.clone(), member)
        });
        members.collect()
    }

    /// Whether everybody votes, under the id that the cluster's state knows.
    pub(crate) fn members_missing(&self) -> Option<String> {
        let newest = self.raft.memberships.last().map(|(_, m)| m)?;
        let wanted: BTreeSet<RaftId> = self.truth.members.values().map(|m| m.raft_id).collect();
        let have = self.ids(0..self.nodes.len());
        let good = newest.sets == [wanted.clone()] && have == wanted;
        let stale = (0..self.nodes.len()).find(|n| self.effective(*n).as_ref() != Some(newest));
        (!good || stale.is_some()).then(|| {
            format!(
                "voters {:?}, members {wanted:?}, running {have:?}",
                newest.sets
            )
        })
    }
}
