//! The replicated log as Raft promises it: one log, of which a leader with a quorum can commit more,
//! and of which anybody's state machine may be behind. Who votes is an entry of it, and counts where it is
//! stored, committed or not.

mod apply;
mod election;
mod members;
mod membership;
mod proposals;
mod recovery;
mod view;

use std::collections::BTreeSet;

use pgha_core::{Command, Generation, RaftId};

pub use membership::{Membership, Tail};

use crate::event::{Event, Message};
use crate::mutant::Mutant;
use crate::time::{MS, Nanos};
use crate::world::World;

const TICK: Nanos = 50 * MS;

/// An entry of the log.
#[derive(Clone, Debug)]
pub enum Entry {
    /// Changes the replicated state.
    Command(Command),
    /// Changes who votes.
    Voters(Membership),
}

/// What is true of the group, whoever knows it.
#[derive(Debug, Default)]
pub struct Raft {
    /// Every committed entry.
    pub log: Vec<Entry>,
    /// The committed memberships, each with the length of the log that it ends.
    memberships: Vec<(usize, Membership)>,
    /// The newest term.
    pub term: u64,
    /// The generation of the cluster.
    pub generation: Generation,
    /// Its leader.
    pub leader: Option<usize>,
    /// Since when that one cannot lead.
    lame_since: Option<Nanos>,
    patience: Nanos,
    /// Entries that may have reached a member, but no quorum.
    limbo: Vec<Command>,
    /// Somebody was asked to take over.
    pub transfer: Option<usize>,
    odd: bool,
}

impl World {
    /// Looks after leadership.
    pub fn raft_tick(&mut self) {
        self.queue.push(self.now + TICK, Event::RaftTick);
        match self.raft.leader {
            Some(leader) if self.has_quorum(leader) => {
                self.raft.lame_since = None;
                self.lead_membership(leader);
            }
            Some(_) | None => self.without_leader(),
        }
        if let Some(target) = self.raft.transfer.take()
            && Some(target) != self.raft.leader
            && self.may_lead(target)
        {
            self.elect(target);
        }
        self.raft.odd = !self.raft.odd;
        for node in 0..self.nodes.len() {
            if self.nodes[node].sidecar_runs() {
                if self.raft.odd {
                    self.send_beats(node);
                }
                self.refresh_view(node);
            }
        }
        self.watch_recovery();
    }

    /// Whether `node` reaches a majority, by its own membership, that answers.
    pub fn has_quorum(&self, node: usize) -> bool {
        let runs = self.nodes[node].sidecar_runs();
        let reached = self.ids(self.reached_by(node));
        runs && self
            .effective(node)
            .is_some_and(|membership| membership.quorums().reached(|id| reached.contains(&id)))
    }

    fn reached_by(&self, node: usize) -> impl Iterator<Item = usize> {
        (0..self.nodes.len())
            .filter(move |other| self.nodes[*other].sidecar_runs() && self.linked(node, *other))
            .filter(move |other| self.same_generation(node, *other))
    }

    fn ids(&self, nodes: impl Iterator<Item = usize>) -> BTreeSet<RaftId> {
        nodes
            .filter_map(|node| self.nodes[node].disk.raft_id)
            .collect()
    }

    /// Adds an entry that a quorum stores. Who else is reached may get it later.
    fn append(&mut self, leader: usize, entry: Entry) {
        let length = self.raft.log.len() + 1;
        let (needed, mut others) = (self.needed_for(leader, &entry), Vec::new());
        if let Entry::Voters(membership) = &entry {
            self.raft.memberships.push((length, membership.clone()));
        }
        self.raft.log.push(entry);
        for node in self.reached_by(leader).collect::<Vec<_>>() {
            if needed.contains(&node) {
                self.store(node, length);
            } else if self.effective(leader).is_some_and(|m| m.has(node)) {
                others.push(node);
            }
        }
        for node in others {
            if !self.nodes[node].disk_stalls && !self.fault_chance(30) {
                self.store(node, length);
            }
        }
        if let Some(sidecar) = &mut self.nodes[leader].sidecar {
            sidecar.raft.committed = length;
        }
        self.committed(length);
    }

    /// So many entries are on the disk of `node`, and nothing that was never committed.
    fn store(&mut self, node: usize, length: usize) {
        let before = self.effective(node);
        let disk = &mut self.nodes[node].disk;
        disk.stored = disk.stored.max(length);
        disk.tail = None;
        self.membership_may_have_changed(node, before.as_ref());
    }

    fn send_beats(&mut self, node: usize) {
        let now = self.nodes[node].now(self.now);
        let term = self.nodes[node].disk.term;
        let Some(sidecar) = &mut self.nodes[node].sidecar else {
            return;
        };
        let Some((leader, at)) = &mut sidecar.raft.leader else {
            return;
        };
        if *leader != node {
            return;
        }
        *at = now;
        let beat = Message::Beat {
            term,
            committed: sidecar.raft.committed,
            fresh: sidecar.raft.view.leads,
        };
        let members = self
            .effective(node)
            .map(|membership| membership.others(node));
        for to in members.unwrap_or_default() {
            self.send(node, to, &beat);
        }
    }

    /// A leader is heard of.
    pub fn beat(&mut self, node: usize, from: usize, term: u64, committed: usize, fresh: bool) {
        let now = self.nodes[node].now(self.now);
        let stalls = self.nodes[node].disk_stalls;
        let disk = &mut self.nodes[node].disk;
        let Some(id) = disk.raft_id.filter(|_| term >= disk.term) else {
            return;
        };
        disk.term = term;
        let stale = disk.tail.as_ref().is_some_and(|tail| tail.term < term);
        if stale || (committed > disk.stored && !stalls) {
            let length = disk.stored.max(if stalls { 0 } else { committed });
            self.store(node, length);
        }
        let Some(sidecar) = &mut self.nodes[node].sidecar else {
            return;
        };
        sidecar.raft.leader = Some((from, now));
        sidecar.raft.committed = sidecar.raft.committed.max(committed);
        sidecar.raft.told |= fresh;
        self.send(node, from, &Message::BeatAnswer { term, by: id });
        self.apply_soon(node);
        self.refresh_view(node);
    }

    /// A follower answered.
    pub fn beat_answered(&mut self, node: usize, by: RaftId, term: u64) {
        let now = self.nodes[node].now(self.now);
        if term != self.nodes[node].disk.term {
            return;
        }
        if let Some(sidecar) = &mut self.nodes[node].sidecar {
            sidecar.raft.answers.insert(by, now);
        }
        self.refresh_view(node);
    }

    /// What was not flushed is gone with the power.
    pub(crate) fn power_is_lost(&mut self, node: usize) {
        let data = self.nodes[node].disk.data.as_mut();
        if data.is_some_and(crate::wal::DataDirectory::lose_unflushed) {
            self.count("unflushed WAL lost with the power");
        }
        if self.is(Mutant::AppendNotFlushed) {
            let lost = usize::try_from(self.span(1, 3) / MS).unwrap_or(1);
            let disk = &mut self.nodes[node].disk;
            disk.stored = disk.stored.saturating_sub(lost).max(1);
            disk.applied = disk.applied.min(disk.stored);
            disk.tail = None;
        }
    }
}
