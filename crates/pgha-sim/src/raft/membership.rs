//! Who votes: a member that lost its store comes back under a new raft id, which replaces the old one by
//! a joint membership.

use std::collections::{BTreeMap, BTreeSet};

use pgha_core::lease::Quorums;
use pgha_core::{MemberName, RaftId};

use super::Entry;
use crate::mutant::Mutant;
use crate::world::World;

/// One membership of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Tells it from every other, committed or not.
    pub id: u64,
    /// The sets of voters; two while it is joint.
    pub sets: Vec<BTreeSet<RaftId>>,
    /// Everybody in it, learners too, and on which node.
    pub nodes: BTreeMap<RaftId, usize>,
}

/// A membership that is stored after all that is committed, and may never be committed itself.
#[derive(Clone, Debug)]
pub struct Tail {
    /// The term of the leader that sent it last.
    pub term: u64,
    /// What it says.
    pub membership: Membership,
}

impl Membership {
    /// Who has to agree.
    pub fn quorums(&self) -> Quorums {
        Quorums::new(self.sets.iter().cloned())
    }

    /// Whether anybody on this node belongs to it.
    pub fn has(&self, node: usize) -> bool {
        self.nodes.values().any(|of| *of == node)
    }

    /// The nodes of it, without this one.
    pub fn others(&self, node: usize) -> BTreeSet<usize> {
        self.nodes
            .values()
            .copied()
            .filter(|n| *n != node)
            .collect()
    }

    fn votes(&self, id: RaftId) -> bool {
        self.sets.iter().any(|set| set.contains(&id))
    }
}

impl World {
    /// What is committed up to this length of the log.
    fn membership_at(&self, length: usize) -> Option<&Membership> {
        let all = &self.raft.memberships;
        let index = all.partition_point(|(end, _)| *end <= length);
        Some(&all.get(index.checked_sub(1)?)?.1)
    }

    /// The newest membership that `node` has stored: it counts, committed or not (Raft, section 6).
    pub fn effective(&self, node: usize) -> Option<Membership> {
        let disk = &self.nodes[node].disk;
        let tail = disk.tail.as_ref().map(|tail| &tail.membership);
        tail.or_else(|| self.membership_at(disk.stored)).cloned()
    }

    /// Whom a holder on `node` has to ask: what it has applied, its newest, and where these differ the
    /// one before the newest, which is committed for certain.
    pub fn electorate(&self, node: usize) -> Quorums {
        if self.is(Mutant::QuorumOfOne) {
            let me = self.nodes[node].disk.raft_id;
            return Quorums::new([me.into_iter().collect()]);
        }
        let disk = &self.nodes[node].disk;
        let newest = self.effective(node);
        let stored = self.raft.memberships.iter().rev();
        let mut stored = stored.filter(|(end, _)| *end <= disk.stored);
        let before = if disk.tail.is_some() {
            stored.next()
        } else {
            stored.nth(1)
        };
        let sets = |membership: Option<&'_ Membership>| -> Vec<BTreeSet<RaftId>> {
            membership.map_or_else(Vec::new, |membership| membership.sets.clone())
        };
        Quorums::to_ask(
            self.is_settled(node),
            &sets(before.map(|(_, membership)| membership)),
            &sets(self.membership_at(disk.applied)),
            &sets(newest.as_ref()),
        )
    }

    /// Whether `node` has applied the newest membership that it has stored.
    fn is_settled(&self, node: usize) -> bool {
        let applied = self.membership_at(self.nodes[node].disk.applied);
        applied.is_some() && self.effective(node).as_ref() == applied
    }

    /// The lease's threads learn of a change before anybody is told that it is stored.
    pub(super) fn membership_may_have_changed(&mut self, node: usize, before: Option<&Membership>) {
        let newest = self.effective(node);
        if newest.as_ref() == before {
            return;
        }
        self.count("membership stored");
        self.lease_learns_membership(node);
    }

    /// The grantor and the holder of `node` go by what it has stored.
    pub fn lease_learns_membership(&mut self, node: usize) {
        let now = self.nodes[node].now(self.now);
        let (newest, quorums) = (self.effective(node), self.electorate(node));
        let settled = self.is_settled(node);
        let n = &mut self.nodes[node];
        let wait = n.disk.state.settings.start_wait();
        let Some(sidecar) = &mut n.sidecar else {
            return;
        };
        if let Some(newest) = newest {
            sidecar.grantor.set_membership(newest.id, now, wait);
            if let Some(holder) = &mut sidecar.holder {
                holder.set_membership(newest.id, quorums);
            }
        }
        if settled {
            sidecar.grantor.set_settled(n.disk.state.epoch);
        }
        self.refresh_view(node);
    }

    /// The first membership.
    pub(crate) fn form(&mut self) {
        let nodes: BTreeMap<RaftId, usize> = (0..self.nodes.len())
            .map(|node| (RaftId(node as u64 + 1), node))
            .collect();
        for (id, node) in &nodes {
            self.nodes[*node].disk.raft_id = Some(*id);
        }
        let membership = Membership {
            id: self.fresh_id(),
            sets: vec![nodes.keys().copied().collect()],
            nodes,
        };
        self.raft.memberships.push((1, membership.clone()));
        self.raft.log.push(Entry::Voters(membership));
    }

    /// What a leader does for the membership: one step after another.
    pub(super) fn lead_membership(&mut self, leader: usize) {
        if let Some(tail) = self.nodes[leader].disk.tail.clone() {
            return self.spread(leader, &tail.membership);
        }
        if let Some(next) = self.next_membership(leader) {
            let before = self.effective(leader);
            let disk = &mut self.nodes[leader].disk;
            let term = disk.term;
            disk.tail = Some(Tail {
                term,
                membership: next,
            });
            self.membership_may_have_changed(leader, before.as_ref());
        }
    }

    /// Sends the leader's newest membership to whoever it reaches, and commits it with a quorum.
    fn spread(&mut self, leader: usize, membership: &Membership) {
        if self.has_stored_quorum(leader) {
            self.nodes[leader].disk.tail = None;
            let joint = membership.sets.len() > 1;
            let what = if joint { "joint" } else { "settled" };
            self.count(&format!("membership {what}"));
            self.append(leader, Entry::Voters(membership.clone()));
            self.send_beats(leader);
            self.apply_soon(leader);
            return;
        }
        let term = self.nodes[leader].disk.term;
        let length = self.nodes[leader].disk.stored;
        for node in self.reached_by(leader).collect::<Vec<_>>() {
            let disk = &self.nodes[node].disk;
            let next = node != leader && disk.stored == length && disk.term <= term;
            if next && membership.has(node) && !self.nodes[node].disk_stalls && self.chance(50) {
                let before = self.effective(node);
                let membership = membership.clone();
                self.nodes[node].disk.tail = Some(Tail { term, membership });
                self.membership_may_have_changed(node, before.as_ref());
            }
        }
    }

    /// Whether a learner has promised the primary its support, where there is a primary.
    fn supports_primary(&self, leader: usize, learner: usize) -> bool {
        let Some(record) = self.nodes[leader].disk.state.primary() else {
            return true;
        };
        let sidecar = self.nodes[learner].sidecar.as_ref();
        sidecar.is_some_and(|s| s.grantor.promised(record.epoch))
    }

    fn next_membership(&mut self, leader: usize) -> Option<Membership> {
        let mut next = self.effective(leader)?;
        let state = &self.nodes[leader].disk.state;
        let wanted: BTreeMap<RaftId, MemberName> = state
            .members
            .iter()
            .filter(|(_, member)| !state.is_ruled_out(member))
            .map(|(name, member)| (member.raft_id, name.clone()))
            .collect();
        if next.sets.len() > 1 {
            next.sets.remove(0);
            let settled = next.clone();
            next.nodes
                .retain(|id, _| settled.votes(*id) || wanted.contains_key(id));
        } else {
            let (id, name) = wanted.iter().find(|(id, _)| !next.votes(**id))?;
            let node = self.index_of(name)?;
            if next.nodes.insert(*id, node).is_some() {
                if self.nodes[node].disk.stored < self.raft.log.len() {
                    return None;
                }
                // The vote of a second voter of two is one that the primary needs at once.
                // Where nobody reads it as a story, patience ends at some time, as the daemon's does.
                let supported = self.supports_primary(leader, node);
                if !supported && (self.chronicle.is_some() || !self.chance(1)) {
                    return None;
                }
                let mut voters = next.sets[0].clone();
                voters.retain(|old| next.nodes.get(old) != Some(&node));
                voters.insert(*id);
                next.sets.push(voters);
            }
        }
        next.id = self.fresh_id();
        Some(next)
    }
}
