//! The loss of most members for ever, an operator who goes on with one that is left, and the way back of
//! the others (P9).
//!
//! The survivor has everything that was committed: one log stands for both generations, so nothing of it can
//! be cut off. And the operator keeps his word: of those who are of the old generation no two run at once
//! besides those who ran when he looked, so they never are a quorum of it.

use std::collections::{BTreeMap, BTreeSet};

use pgha_core::command::Recover;
use pgha_core::{Command, Fitness, Generation, MemberKind, Phase};
use rand::Rng;

use super::{Entry, Membership};
use crate::event::{Event, NodeEvent};
use crate::fault::Mend;
use crate::mutant::Mutant;
use crate::time::MS;
use crate::world::World;

/// A recovery that is refused is tried again, so often.
const TRIES_MAX: u32 = 40;

impl World {
    /// Most voters lose power and do not come back before somebody has gone on without them. Once a run.
    pub(crate) fn lose_quorum(&mut self) {
        let count = self.nodes.len();
        let fit: Vec<usize> = (0..count).filter(|node| self.may_survive(*node)).collect();
        if count < 3 || fit.is_empty() || !self.everybody_votes() || self.opened.is_empty() {
            return;
        }
        let survivor = fit[self.rng.random_range(0..fit.len())];
        let mut others: Vec<usize> = (0..count).filter(|node| *node != survivor).collect();
        while others.len() > count / 2 + 1 {
            let spared = self.rng.random_range(0..others.len());
            others.swap_remove(spared);
        }
        for other in others {
            self.die(other, true);
            self.nodes[other].lost = true;
        }
        let after = self.span(300, 6000);
        let order = Event::Recover(survivor, TRIES_MAX);
        self.queue.push(self.now + after, order);
    }

    fn may_survive(&self, node: usize) -> bool {
        let n = &self.nodes[node];
        n.kind == MemberKind::Data && n.up && n.disk.stored == self.raft.log.len()
    }

    /// The operator's order, again while something stands against it that may pass.
    pub(crate) fn recovery_ordered(&mut self, node: usize, tries: u32) {
        if !self.nodes.iter().any(|n| n.lost) {
            return;
        }
        match self.recover_quorum(node) {
            Ok(()) => {
                for other in 0..self.nodes.len() {
                    if std::mem::take(&mut self.nodes[other].lost) {
                        self.mend_in(500, 9000, Mend::Boot(other));
                    }
                }
            }
            Err(_) if tries > 0 => {
                let again = Event::Recover(node, tries - 1);
                self.queue.push(self.now + 500 * MS, again);
            }
            Err(_) => {}
        }
    }

    /// `quorum recover` on this member: what stands against it, or it is done in one write of its store, and
    /// its process is another one.
    pub(crate) fn recover_quorum(&mut self, node: usize) -> Result<(), String> {
        if let Some(obstacle) = self.recovery_obstacle(node) {
            return Err(obstacle);
        }
        let told = self.last_told(node);
        // What was sent to some may be on its disk, and then counts: nobody is left who would know better.
        for command in std::mem::take(&mut self.raft.limbo) {
            if self.nodes[node].disk.tail.is_none() && self.chance(50) {
                self.extend(node, Entry::Command(command));
            }
        }
        let adopted = self.nodes[node].disk.adopted;
        let recover = Recover {
            generation: self.truth.generation.next(),
            epoch: self.truth.epoch.max(adopted).next(),
            survivor: self.nodes[node].name.clone(),
            told,
            at: String::new(),
        };
        let (generation, epoch) = (recover.generation, recover.epoch);
        let command = Command::Recover(recover);
        let fits = self.truth.clone().apply(u64::MAX, &command);
        fits.map_err(|refusal| refusal.to_string())?;
        self.die(node, false);
        let alone = self.alone(node);
        let disk = &mut self.nodes[node].disk;
        disk.tail = None;
        self.raft
            .memberships
            .push((self.raft.log.len() + 1, alone.clone()));
        self.extend(node, Entry::Voters(alone));
        self.extend(node, Entry::Command(command));
        self.raft.term += 1;
        self.raft.leader = None;
        self.raft.generation = generation;
        let disk = &mut self.nodes[node].disk;
        disk.term = self.raft.term;
        disk.generation = generation;
        disk.adopted = disk.adopted.max(epoch);
        self.count("quorum recovered");
        let after = self.span(300, 600);
        self.sidecar_in(node, after, NodeEvent::SidecarStarts);
        Ok(())
    }

    /// Behind everything in this member's log, and nowhere else.
    fn extend(&mut self, node: usize, entry: Entry) {
        self.raft.log.push(entry);
        let length = self.raft.log.len();
        self.nodes[node].disk.stored = length;
        self.committed(length);
    }

    fn alone(&mut self, node: usize) -> Membership {
        let me = self.nodes[node].disk.raft_id.unwrap_or_default();
        Membership {
            id: self.fresh_id(),
            sets: vec![BTreeSet::from([me])],
            nodes: BTreeMap::from([(me, node)]),
        }
    }

    /// How far the last primary told this member that it came.
    fn last_told(&self, node: usize) -> Option<pgha_core::Lsn> {
        let n = &self.nodes[node];
        let record = match &n.disk.state.phase {
            Phase::Primary(record) => record,
            Phase::Revoked(revoked) => revoked.previous.as_ref()?,
            Phase::Empty | Phase::Bootstrap { .. } => return None,
        };
        n.sidecar.as_ref()?.grantor.flush_lsn(record.epoch)
    }

    fn recovery_obstacle(&self, node: usize) -> Option<String> {
        let n = &self.nodes[node];
        let Some(sidecar) = n.sidecar.as_ref().filter(|_| n.sidecar_runs()) else {
            return Some("it does not answer".to_owned());
        };
        if sidecar.raft.view.quorum || self.has_quorum(node) {
            return Some("a quorum answers: there is nothing to recover".to_owned());
        }
        if !self.may_survive(node) {
            return Some("it lacks what was committed".to_owned());
        }
        let Some(data) = n.disk.data.as_ref().filter(|_| !n.disk.marker) else {
            return Some("it has no data of this cluster".to_owned());
        };
        if Some(data.system_identifier) != self.truth.system_identifier {
            return Some("it has no data of this cluster".to_owned());
        }
        match n.disk.state.fitness(&n.name, &data.position()) {
            Fitness::OnLine | Fitness::Left { .. } => None,
            Fitness::Unfit { why } => Some(why),
        }
    }

    /// Whether this node has to stay off: another one of the old generation runs.
    pub(crate) fn is_kept_off(&self, node: usize) -> bool {
        let is_old = |n: &crate::node::Node| n.disk.generation < self.raft.generation;
        let others = self.nodes.iter().enumerate();
        let mut others = others.filter(|(other, n)| *other != node && n.up && is_old(n));
        let kept = is_old(&self.nodes[node]) && others.next().is_some();
        self.nodes[node].lost || (kept && !self.is(Mutant::OldGenerationVotes))
    }

    /// Whether these two take each other's calls: the generation is on every one.
    pub(super) fn same_generation(&self, a: usize, b: usize) -> bool {
        self.nodes[a].disk.generation == self.nodes[b].disk.generation
            || self.is(Mutant::OldGenerationVotes)
    }

    /// A started member asks whom it reaches for the generation, before it does anything with its store.
    /// Whether it is ruled out; it may get no answer.
    pub(crate) fn is_ruled_out_at_start(&mut self, node: usize) -> bool {
        if self.is(Mutant::OldGenerationVotes) {
            return false;
        }
        let newest = (0..self.nodes.len())
            .filter(|other| self.nodes[*other].sidecar_runs() && self.linked(node, *other))
            .map(|other| self.nodes[other].disk.generation)
            .max();
        let newer = newest.filter(|newest| *newest > self.nodes[node].disk.generation);
        let Some(newer) = newer.filter(|_| !self.fault_chance(40)) else {
            return false;
        };
        self.count("store ruled out at a start");
        self.rule_store_out(node, newer);
        true
    }

    /// A call, or the refusal of one, names a later generation: the gate is closed, the store is moved
    /// aside, and the process is another one. Its guard empties the tree of a primary.
    pub(crate) fn heard_generation(&mut self, node: usize, newer: Generation) {
        if newer <= self.nodes[node].disk.generation || self.nodes[node].sidecar.is_none() {
            return;
        }
        self.count("store ruled out while it was used");
        self.die(node, false);
        self.rule_store_out(node, newer);
        let after = self.span(200, 600);
        self.sidecar_in(node, after, NodeEvent::SidecarStarts);
    }

    fn rule_store_out(&mut self, node: usize, newer: Generation) {
        self.forget_store(node);
        let disk = &mut self.nodes[node].disk;
        disk.raft_id = None;
        disk.generation = newer;
        self.trace(Some(node), || format!("is ruled out by generation {newer}"));
        self.chronicle(node, || {
            format!("its Raft store is moved aside: generation {newer} goes on without it")
        });
    }
}
