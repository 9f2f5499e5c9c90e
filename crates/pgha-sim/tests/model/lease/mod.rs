//! Lease, revoke, promotion and release: every interleaving of a small number of each.
//!
//! Time goes by in ticks and is the same for all. The log is one, and anybody may be behind it for ever;
//! messages are lost, and late where that makes a difference; holders and grantors are those of
//! `pgha-core`.

mod config;
mod knows;
mod log;
mod properties;
mod reduce;
mod seen;
mod traffic;
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pgha_core::lease::{Grantor, Quorums};
use pgha_core::{Epoch, Mono, Nonce, RaftId};
use stateright::{Model, Property};

use crate::rules::Rules;

pub(crate) use config::LeaseModel;
pub(crate) use seen::Fact;
use world::{Entry, Message, Node, State};

/// What can happen next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Tick,
    /// An epoch ends, the next one's primary is named.
    Replace(usize),
    /// The next value of `lease_ms` is committed.
    ChangeLease,
    /// Some leader, perhaps one that is cut off and will never commit it, has this node store this
    /// membership.
    Store(usize, u64),
    /// Another leader has it take that back, as it was not committed.
    TakeBack(usize),
    /// Enough have stored the next membership.
    CommitVoters,
    /// It reads the next entry of the log.
    Apply(usize, usize),
    /// A holder's renewal reaches a grantor, whose answer is counted or lost.
    Renew {
        from: usize,
        to: usize,
        send: usize,
        counted: bool,
    },
    /// A holder's renewals are under way to everybody.
    Send(usize),
    Deliver(Message),
    /// The process ends and starts; its guard's release arrives or is lost.
    Restart(usize),
    /// The holder stops, its tree is empty, its guard says so.
    Stop(usize),
    Report(usize),
}

impl LeaseModel {
    fn first_node(&self, index: usize, membership: u64, log: usize) -> Node {
        let looked = (!self.has_never_looked(index, 0)).then_some(membership);
        let mut grantor = Grantor::started(Epoch(1), None, looked, Mono::ZERO, Duration::ZERO);
        grantor.set_caught_up(Duration::ZERO);
        if self.rules == Rules::SilenceProves {
            grantor.know_epoch(Epoch(1), Mono::ZERO);
        }
        Node {
            applied: log,
            membership,
            adopted: Epoch(1),
            nonce: Nonce(1 + 10 * index as u64),
            named: index == 0,
            grantor,
            holder: None,
            sends: Vec::new(),
            believes: false,
            sends_left: 0,
        }
    }

    /// `early` are the nodes that have stored the joint membership, a bit for each.
    fn first_state(&self, early: u64) -> State {
        let changes = &self.lease_ms[1..=self.lease_changed];
        let mut log: Vec<_> = changes.iter().map(|ms| Entry::LeaseMs(*ms)).collect();
        log.push(Entry::Revoke(Epoch(1)));
        log.push(Entry::Primary(Epoch(1), 0, Nonce(1)));
        let nodes = (0..self.nodes)
            .map(|index| Arc::new(self.first_node(index, early >> index & 1, log.len())));
        let mut state = State {
            tick: 0,
            nodes: nodes.collect(),
            log: Arc::new(log),
            wire: BTreeSet::new(),
            restarts_left: self.restarts,
            named_one: false,
            silent: BTreeSet::new(),
            highest_held: Epoch::NONE,
        };
        // The first primary reads of itself.
        state.node(0).applied -= 1;
        let end = state.log.len();
        self.apply(&mut state, 0, end);
        state
    }

    /// Whether the lease threads of a node with this membership have not looked for one yet.
    fn has_never_looked(&self, index: usize, membership: u64) -> bool {
        membership == 0 && self.taken_in_late.contains(&index)
    }

    fn replacements(&self, state: &State, actions: &mut Vec<Action>) {
        if state.newest().0 < self.epochs {
            let fit = |node: &&usize| self.is_first_of_its_kind(state, **node);
            actions.extend(
                self.may_lead
                    .iter()
                    .filter(fit)
                    .map(|n| Action::Replace(*n)),
            );
        }
        let changes = state.count(state.log.len(), |e| matches!(e, Entry::LeaseMs(_)));
        if changes as usize + 1 < self.lease_ms.len() {
            actions.push(Action::ChangeLease);
        }
    }

    fn memberships(&self, state: &State, actions: &mut Vec<Action>) {
        if !self.voters_may_change() {
            return;
        }
        let committed = state.changes();
        for (index, node) in state.nodes.iter().enumerate() {
            if node.membership <= committed {
                let next = node.membership + 1;
                let newest = if self.has_never_looked(index, node.membership) {
                    committed + 1
                } else {
                    next
                };
                let found = next..=newest.min(self.changes);
                actions.extend(found.map(|membership| Action::Store(index, membership)));
            }
            if self.takes_back && node.membership > committed {
                actions.push(Action::TakeBack(index));
            }
        }
        let stored = |id: RaftId| {
            let (index, membership) = (id.0 as usize, state.nodes[id.0 as usize].membership);
            membership > committed || self.has_never_looked(index, membership)
        };
        let next = Quorums::new(self.sets(committed + 1));
        if committed < self.changes && next.reached(stored) {
            actions.push(Action::CommitVoters);
        }
    }

    fn of_holder(&self, state: &State, index: usize, actions: &mut Vec<Action>) {
        let node = &state.nodes[index];
        if node.holder.is_none() {
            return;
        }
        if self.stops {
            actions.push(Action::Stop(index));
        }
        if self.is_late() {
            let sent_now = node.sends.iter().any(|send| send.at == self.now(state));
            if node.sends_left > 0 && !sent_now {
                actions.push(Action::Send(index));
            }
            return;
        }
        let mut grantors = self.quorums(state, index).voters();
        if self.voters_may_change() {
            grantors.extend(self.joining());
        }
        for to in grantors.into_iter().map(|id| id.0 as usize) {
            let fresh = (self.ticks.is_none() && !self.voters_may_change()).then_some(0);
            for send in fresh.into_iter().chain(0..node.sends.len()) {
                if !self.was_sent_to(node, send, to) {
                    continue;
                }
                for counted in [true, false] {
                    // Nothing is lost on the way to itself.
                    if counted || (self.voters_may_change() && to != index) {
                        actions.push(Action::Renew {
                            from: index,
                            to,
                            send,
                            counted,
                        });
                    }
                }
            }
        }
    }

    fn reports(&self, state: &State, index: usize) -> bool {
        let epoch = state.newest();
        let timing = self.timing(state, index);
        let silent_at = state.nodes[index].grantor.silent_at(epoch, timing);
        self.rules == Rules::SilenceProves
            && !state.silent.contains(&(index, epoch))
            && silent_at.is_some_and(|at| at <= self.now(state))
    }

    fn act(&self, state: &mut State, action: Action) -> Option<()> {
        let epoch = state.newest();
        match action {
            Action::Tick => {
                state.tick += 1;
                if self.ticks.is_some() {
                    (0..self.nodes).for_each(|index| self.number_a_send(state, index));
                }
            }
            Action::Replace(node) => {
                let (next, nonce) = (Epoch(epoch.0 + 1), state.nodes[node].nonce);
                state.node(node).named = true;
                state.append(Entry::Revoke(next));
                state.append(Entry::Primary(next, node, nonce));
                state.named_one |= node == 1;
            }
            Action::ChangeLease => {
                let changes = state.count(state.log.len(), |e| matches!(e, Entry::LeaseMs(_)));
                state.append(Entry::LeaseMs(self.lease_ms[changes as usize + 1]));
            }
            Action::Store(index, membership) => self.store_membership(state, index, membership),
            Action::TakeBack(index) => {
                self.seen.note(Fact::TakenBack);
                let before = state.nodes[index].membership - 1;
                self.store_membership(state, index, before);
            }
            Action::CommitVoters => {
                state.append(Entry::Voters);
                if state.changes() == self.changes {
                    self.seen.note(Fact::VotersChanged);
                }
            }
            Action::Apply(index, end) => self.apply(state, index, end),
            Action::Renew {
                from,
                to,
                send,
                counted,
            } => {
                let send = self.take_send(state, from, send)?;
                let sent = self.sent(state, from, to, send)?;
                if !counted && !self.opens(state, &sent) {
                    return None;
                }
                self.receive(state, &sent, counted);
            }
            Action::Send(index) => self.send(state, index)?,
            Action::Deliver(message) => self.deliver(state, &message),
            Action::Restart(index) => self.restart(state, index),
            Action::Stop(index) => self.stop(state, index)?,
            Action::Report(index) => {
                state.silent.insert((index, epoch));
            }
        }
        Some(())
    }

    fn stop(&self, state: &mut State, index: usize) -> Option<()> {
        let epoch = state.nodes[index].holder.as_ref()?.epoch();
        self.release(state, index, epoch);
        if self.rules != Rules::ReleasedBeforeEmpty {
            let node = state.node(index);
            node.holder = None;
            node.sends.clear();
        }
        Some(())
    }
}

impl Model for LeaseModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let early = self.stored_early.iter();
        early.map(|early| self.first_state(*early)).collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if self.ticks.is_none_or(|ticks| state.tick < ticks) {
            actions.push(Action::Tick);
        }
        self.replacements(state, actions);
        self.memberships(state, actions);
        for index in 0..self.nodes {
            let readings = self.readings(state, index);
            actions.extend(readings.map(|end| Action::Apply(index, end)));
            self.of_holder(state, index, actions);
            if state.restarts_left > 0 && self.has_something_to_lose(state, index) {
                actions.push(Action::Restart(index));
            }
            if self.reports(state, index) {
                actions.push(Action::Report(index));
            }
        }
        actions.extend(state.wire.iter().cloned().map(Action::Deliver));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.act(&mut state, action)?;
        self.reduce(&mut state);
        state.highest_held = state.highest_held.max(self.held(&state));
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        Self::all_properties()
    }
}
