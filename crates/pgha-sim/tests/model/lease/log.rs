//! What a node reads in the log and has in its store.

use std::time::Duration;

use pgha_core::lease::{Grantor, Holder};
use pgha_core::{Epoch, Nonce};

use crate::rules::Rules;

use super::LeaseModel;
use super::seen::Fact;
use super::world::{Entry, Message, Node, State};

impl LeaseModel {
    /// The entries before `end` that this node has not applied yet. Its agent looks at what they come
    /// to, so that the last primary of them is the one that counts, by the last settings.
    pub(super) fn apply(&self, state: &mut State, index: usize, end: usize) {
        let mut primary = None;
        while state.nodes[index].applied < end {
            let entry = state.log[state.nodes[index].applied];
            state.node(index).applied += 1;
            match entry {
                Entry::Revoke(_) => primary = None,
                Entry::Primary(..) => primary = Some(entry),
                Entry::Voters | Entry::LeaseMs(_) => {}
            }
            self.apply_one(state, index, entry);
        }
        if let Some(Entry::Primary(epoch, primary, nonce)) = primary
            && self.names(state, index, primary, nonce, epoch)
        {
            self.collect(state, index, epoch);
        }
        self.catch_up(state, index);
    }

    pub(super) fn names(
        &self,
        state: &State,
        index: usize,
        primary: usize,
        nonce: Nonce,
        epoch: Epoch,
    ) -> bool {
        let node = &state.nodes[index];
        primary == index && nonce == node.nonce && node.adopted <= epoch
    }

    fn apply_one(&self, state: &mut State, index: usize, entry: Entry) {
        let now = self.now(state);
        match entry {
            Entry::Revoke(epoch) => adopt(state.node(index), epoch),
            Entry::Primary(epoch, ..) => {
                if self.rules == Rules::SilenceProves {
                    state.node(index).grantor.know_epoch(epoch, now);
                }
            }
            Entry::Voters => {
                let changes = state.count(state.nodes[index].applied, |e| *e == Entry::Voters);
                let stored = state.nodes[index].membership.max(changes);
                self.store_membership(state, index, stored);
            }
            Entry::LeaseMs(_) => self.seen.note(Fact::LeaseChanged),
        }
    }

    /// Begins to collect the lease of an epoch.
    fn collect(&self, state: &mut State, index: usize, epoch: Epoch) {
        let timing = self.timing(state, index);
        let quorums = self.quorums(state, index).clone();
        let before = |(_, of): &&(usize, Epoch)| of.0 + 1 == epoch.0;
        let silent = state.silent.iter().filter(before).count();
        let proves = self.rules == Rules::SilenceProves;
        let sends = self.sends();
        let node = state.node(index);
        node.holder = Some(Holder::new(
            epoch,
            node.nonce,
            timing,
            node.membership,
            quorums,
        ));
        node.believes = proves && silent > 1;
        node.sends_left = sends;
        node.sends.clear();
        self.number_a_send(state, index);
    }

    /// How far a node may read next: to an entry that allows it something, with all before that, and from
    /// there to those that follow and change how it goes on.
    pub(super) fn readings(&self, state: &State, index: usize) -> impl Iterator<Item = usize> {
        let first = state.nodes[index].applied;
        let unread = state.log.iter().enumerate().skip(first);
        unread.filter_map(move |(at, entry)| {
            let allows = match *entry {
                Entry::Revoke(_) => self.is_late(),
                Entry::Primary(epoch, primary, nonce) => {
                    self.names(state, index, primary, nonce, epoch)
                        || self.rules == Rules::SilenceProves
                }
                Entry::Voters => false,
                Entry::LeaseMs(_) => true,
            };
            allows.then_some(at + 1)
        })
    }

    /// The effective membership is this one now: the holder's and the grantor's threads read it in the
    /// store, before anybody is told that it is there.
    pub(super) fn store_membership(&self, state: &mut State, index: usize, membership: u64) {
        let now = self.now(state);
        let wait = match self.rules {
            Rules::MembershipIdAlone => Duration::ZERO,
            _ => self.start_wait(state, index),
        };
        let changed = state.nodes[index].membership != membership;
        state.node(index).membership = membership;
        let quorums = self.quorums(state, index).clone();
        let node = state.node(index);
        node.grantor.set_membership(membership, now, wait);
        if let Some(holder) = &mut node.holder {
            holder.set_membership(membership, quorums);
            if changed {
                self.number_a_send(state, index);
            }
        }
    }

    /// A change of the voters that a node has stored and that is committed.
    pub(super) fn settle(&self, state: &mut State, index: usize) {
        let node = &state.nodes[index];
        let entry = state.log.get(node.applied).copied();
        let before = state.count(node.applied, |entry| *entry == Entry::Voters);
        match entry {
            Some(Entry::Revoke(epoch)) if epoch <= node.adopted => {}
            Some(Entry::Primary(epoch, primary, nonce))
                if !self.names(state, index, primary, nonce, epoch) => {}
            Some(Entry::Voters) if before < node.membership => {}
            _ => return,
        }
        let end = node.applied + 1;
        self.apply(state, index, end);
        self.settle(state, index);
    }

    /// Some leader tells that everything has been read: a current one, or one that is cut off together
    /// with this node and has not heard of what the others have committed since. So it may come at any
    /// moment, and comes at once: the grantor counts its wait from its start, whenever it is told, and
    /// grants nothing before.
    fn catch_up(&self, state: &mut State, index: usize) {
        let wait = self.start_wait(state, index);
        state.node(index).grantor.set_caught_up(wait);
    }

    /// Everything volatile is gone; the state machine is read again from its beginning.
    pub(super) fn restart(&self, state: &mut State, index: usize) {
        let now = self.now(state);
        // Its guard empties the tree, and says so when and where it can.
        let held = state.node(index).holder.take();
        if let Some(holder) = &held {
            self.release(state, index, holder.epoch());
        }
        let node = state.node(index);
        // One that was never named is as good as new.
        node.nonce.0 += u64::from(std::mem::take(&mut node.named));
        node.sends.clear();
        node.believes = false;
        node.applied = 0;
        if self.rules == Rules::EpochNotKept {
            node.adopted = Epoch::NONE;
        }
        let wait = self.start_wait(state, index);
        let node = state.node(index);
        node.grantor = Grantor::started(node.adopted, None, Some(node.membership), now, wait);
        self.catch_up(state, index);
        state.restarts_left -= 1;
    }

    /// The guard of `index` proves to the voters that nothing of `epoch` is left.
    pub(super) fn release(&self, state: &mut State, index: usize, epoch: Epoch) {
        for id in self.quorums(state, index).voters() {
            let message = Message::Release(id.0 as usize, epoch);
            if self.is_late() {
                state.wire.insert(message);
            } else {
                self.deliver(state, &message);
            }
        }
    }
}

pub(super) fn adopt(node: &mut Node, epoch: Epoch) {
    node.adopted = node.adopted.max(epoch);
    node.grantor.adopt(epoch);
    if let Some(holder) = &mut node.holder {
        holder.heard_epoch(epoch);
        if holder.epoch() < epoch {
            node.believes = false;
        }
    }
}
