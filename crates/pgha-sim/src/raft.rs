//! The replicated log as Raft promises it: one log, of which a leader with a quorum can commit more,
//! and of which anybody's state machine may be behind.

use std::collections::{BTreeMap, BTreeSet};

use pgha_core::decide::RaftView;
use pgha_core::invariant;
use pgha_core::{Command, MemberName, Phase, StartKind};
use rand::Rng;

use crate::event::{Event, Message, NodeEvent, Proposal};
use crate::mutant::Mutant;
use crate::time::{MS, Nanos};
use crate::world::{World, raft_id};

const TICK: Nanos = 50 * MS;
/// A leader whose last quorum answer is older than this refuses commands.
const LEADER_LEASE: std::time::Duration = std::time::Duration::from_millis(600);
const PROPOSAL_MAX: std::time::Duration = std::time::Duration::from_secs(2);

/// What is true of the group, whoever knows it.
#[derive(Debug, Default)]
pub struct Raft {
    /// Every committed entry.
    pub log: Vec<Command>,
    /// The newest term.
    pub term: u64,
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
            Some(leader) if self.has_quorum(leader) => self.raft.lame_since = None,
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

    fn without_leader(&mut self) {
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

    /// Whether `node` reaches a majority that answers.
    pub fn has_quorum(&self, node: usize) -> bool {
        self.nodes[node].sidecar_runs() && 2 * self.reached_by(node).len() > self.nodes.len()
    }

    fn reached_by(&self, node: usize) -> BTreeSet<usize> {
        (0..self.nodes.len())
            .filter(|other| self.nodes[*other].sidecar_runs() && self.linked(node, *other))
            .collect()
    }

    fn may_lead(&self, node: usize) -> bool {
        self.has_quorum(node) && self.nodes[node].disk.stored == self.raft.log.len()
    }

    /// `node` wins the next term.
    pub fn elect(&mut self, node: usize) {
        self.count("raft leader elected");
        self.raft.term += 1;
        self.raft.leader = Some(node);
        self.raft.lame_since = None;
        // What an earlier leader had sent to some, the new one may have and then commits.
        for command in std::mem::take(&mut self.raft.limbo) {
            if self.chance(50) {
                self.append(node, command);
                self.count("late commit");
            }
        }
        let term = self.raft.term;
        self.trace(Some(node), || format!("leads term {term}"));
        let answered: BTreeMap<usize, _> = self
            .reached_by(node)
            .into_iter()
            .map(|other| (other, self.nodes[node].now(self.now)))
            .collect();
        let committed = self.raft.log.len();
        let now = self.nodes[node].now(self.now);
        self.nodes[node].disk.term = term;
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
        let committed = sidecar.raft.committed;
        let fresh = sidecar.raft.view.leads;
        self.broadcast(
            node,
            &Message::Beat {
                term,
                committed,
                fresh,
            },
        );
    }

    /// A leader is heard of.
    pub fn beat(&mut self, node: usize, from: usize, term: u64, committed: usize, fresh: bool) {
        let now = self.nodes[node].now(self.now);
        if term < self.nodes[node].disk.term {
            return;
        }
        self.nodes[node].disk.term = term;
        let disk = &mut self.nodes[node].disk;
        disk.stored = disk.stored.max(committed);
        let Some(sidecar) = &mut self.nodes[node].sidecar else {
            return;
        };
        sidecar.raft.leader = Some((from, now));
        sidecar.raft.committed = sidecar.raft.committed.max(committed);
        sidecar.raft.told |= fresh;
        self.send(node, from, &Message::BeatAnswer { term });
        self.apply_soon(node);
        self.refresh_view(node);
    }

    /// A follower answered.
    pub fn beat_answered(&mut self, node: usize, from: usize, term: u64) {
        let now = self.nodes[node].now(self.now);
        if term != self.nodes[node].disk.term {
            return;
        }
        if let Some(sidecar) = &mut self.nodes[node].sidecar {
            sidecar.raft.answers.insert(from, now);
        }
        self.refresh_view(node);
    }

    /// Computes what decisions see of Raft; a change of it wakes the agent.
    pub fn refresh_view(&mut self, node: usize) {
        let now = self.nodes[node].now(self.now);
        let quorums = self.quorums();
        let names: Vec<MemberName> = self.nodes.iter().map(|n| n.name.clone()).collect();
        let Some(sidecar) = &mut self.nodes[node].sidecar else {
            return;
        };
        let raft = &mut sidecar.raft;
        let i_lead = raft.leader.is_some_and(|(leader, _)| leader == node);
        let newest = quorums.reached_at(|id| {
            let index = usize::try_from(id.0).ok()? - 1;
            if index == node {
                Some(now)
            } else {
                raft.answers.get(&index).copied()
            }
        });
        let leads = i_lead && newest.is_some_and(|at| now.since(at) < LEADER_LEASE);
        let heard = raft
            .leader
            .is_some_and(|(leader, at)| leader != node && now.since(at) < LEADER_LEASE);
        let view = RaftView {
            leader: raft.leader.map(|(leader, _)| names[leader].clone()),
            leads,
            quorum: leads || heard,
            quorums,
            voters: names
                .into_iter()
                .enumerate()
                .map(|(index, name)| (raft_id(index), name))
                .collect(),
            transfer_tried: raft.transfer_tried,
        };
        let changed = raft.view != view;
        raft.view = view;
        if changed {
            self.dirty(node);
        }
    }

    /// A member that leads proposes.
    pub fn propose(&mut self, node: usize, command: Command) {
        let now = self.nodes[node].now(self.now);
        let number = self.fresh_id();
        let forgets = self.is(Mutant::LossForgotten);
        let term = self.nodes[node].disk.term;
        let Some(sidecar) = &mut self.nodes[node].sidecar else {
            return;
        };
        if forgets && matches!(command, Command::Lost { .. }) {
            return;
        }
        let under_way = sidecar.raft.proposal;
        if under_way.is_some_and(|(_, at)| now.since(at) < PROPOSAL_MAX) {
            return;
        }
        sidecar.raft.proposal = Some((number, now));
        if matches!(command, Command::Revoke(_)) {
            sidecar.since.proposed = Some(now);
        }
        let nonce = sidecar.me.nonce;
        let delay = self.span(1, 15);
        let proposal = Proposal {
            by: node,
            nonce,
            number,
            term,
            command,
            tries: 0,
        };
        self.queue.push(self.now + delay, Event::Commit(proposal));
    }

    /// The moment at which a proposal reaches a quorum, if it does.
    pub fn commit(&mut self, mut proposal: Proposal) {
        let by = proposal.by;
        let leads = self.raft.term == proposal.term
            && self.raft.leader == Some(by)
            && self.nonce(by) == Some(proposal.nonce);
        if leads && self.has_quorum(by) {
            self.append(by, proposal.command);
            self.send_beats(by);
            self.apply_soon(by);
            if !self.fault_chance(5) {
                let delay = self.span(0, 5);
                let known = NodeEvent::Proposed(proposal.nonce, proposal.number);
                self.sidecar_in(by, delay, known);
            }
        } else if leads && proposal.tries < 8 {
            proposal.tries += 1;
            let delay = self.span(20, 200);
            self.queue.push(self.now + delay, Event::Commit(proposal));
        } else {
            self.count("proposal without quorum");
            self.raft.limbo.push(proposal.command);
        }
    }

    fn append(&mut self, leader: usize, command: Command) {
        self.raft.log.push(command);
        let length = self.raft.log.len();
        for node in self.reached_by(leader) {
            self.nodes[node].disk.stored = length;
        }
        if let Some(sidecar) = &mut self.nodes[leader].sidecar {
            sidecar.raft.committed = length;
        }
        self.committed(length);
    }

    /// An entry is in the log for good.
    fn committed(&mut self, index: usize) {
        let command = self.raft.log[index - 1].clone();
        let before = self.truth.clone();
        let result = self.truth.apply(index as u64, &command);
        self.trace(None, || match &result {
            Ok(()) => format!("committed {index}: {command:?}"),
            Err(refusal) => format!("committed {index}, refused ({refusal}): {command:?}"),
        });
        if let Err(refusal) = result {
            let text = format!("{refusal:?}");
            let word = text.split([' ', '(']).next().unwrap_or_default();
            self.count(&format!("refusal {word}"));
            return;
        }
        let checked = invariant::order(&before, &self.truth);
        self.check(checked);
        if let Command::Primary(primary) = &command {
            self.count(&format!("primary by {:?}", primary.kind));
            self.check_election(primary, &before);
            if primary.kind == StartKind::Promotion {
                self.twin_of(&primary.node);
            }
        }
        if matches!(command, Command::Opened(_)) {
            self.line_moves();
        }
        if let Command::Revoke(revoke) = &command {
            self.count(&format!("revoke {}", revoke.cause.code()));
        }
    }

    /// The outcome of a proposal is known to whom it concerns.
    pub fn proposed(&mut self, node: usize, number: u64) {
        if let Some(sidecar) = &mut self.nodes[node].sidecar
            && sidecar.raft.proposal.is_some_and(|(own, _)| own == number)
        {
            sidecar.raft.proposal = None;
            self.dirty(node);
        }
    }

    /// Applies what is committed after a while.
    pub fn apply_soon(&mut self, node: usize) {
        let Some(sidecar) = &self.nodes[node].sidecar else {
            return;
        };
        let disk = &self.nodes[node].disk;
        let behind = disk.applied < sidecar.raft.committed.min(disk.stored);
        let nonce = sidecar.me.nonce;
        if behind || !sidecar.raft.told {
            let slow = self.nodes[node].apply_slow && self.healed.is_none();
            let delay = if slow {
                self.span(5, 1500)
            } else {
                self.span(0, 3)
            };
            self.sidecar_in(node, delay, NodeEvent::Apply(nonce));
        } else {
            self.caught_up(node);
        }
    }

    fn caught_up(&mut self, node: usize) {
        let forgets = self.is(Mutant::GrantorForgets);
        let disk = &self.nodes[node].disk;
        let applied = disk.applied;
        let wait = if forgets {
            std::time::Duration::ZERO
        } else {
            disk.state.settings.start_wait()
        };
        if let Some(sidecar) = &mut self.nodes[node].sidecar
            && sidecar.raft.told
            && applied >= sidecar.raft.committed
        {
            sidecar.grantor.set_caught_up(wait);
        }
    }

    /// Brings the state machine up to what is committed.
    pub fn apply(&mut self, node: usize) {
        let committed = match &self.nodes[node].sidecar {
            Some(sidecar) => sidecar.raft.committed.min(self.nodes[node].disk.stored),
            None => return,
        };
        while self.nodes[node].disk.applied < committed {
            self.apply_one(node);
        }
        self.caught_up(node);
        self.examine(node);
        self.dirty(node);
    }

    fn apply_one(&mut self, node: usize) {
        let now = self.nodes[node].now(self.now);
        let n = &mut self.nodes[node];
        let command = &self.raft.log[n.disk.applied];
        n.disk.applied += 1;
        let index = n.disk.applied as u64;
        let result = n.disk.state.apply(index, command);
        let Some(sidecar) = &mut n.sidecar else {
            return;
        };
        if result.is_err() {
            return;
        }
        match command {
            Command::Revoke(_) | Command::Bootstrap { .. } => {
                sidecar.since.epoch = now;
                sidecar.since.phase = now;
            }
            Command::Primary(_) => {
                sidecar.since.phase = now;
                sidecar.since.proposed = None;
            }
            Command::Handover { .. } => sidecar.since.handover = now,
            Command::Create(_)
            | Command::Opened(_)
            | Command::HandoverEnd { .. }
            | Command::SetSettings { .. }
            | Command::PutMember { .. }
            | Command::Lost { .. } => {}
        }
        if let Phase::Primary(record) = &n.disk.state.phase {
            sidecar.grantor.know_epoch(record.epoch, now);
        }
    }
}
