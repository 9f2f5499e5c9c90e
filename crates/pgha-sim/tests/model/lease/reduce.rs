//! What keeps the worlds small, and why no broken promise is missed by it.
//!
//! One state *covers* another if the same gates are open and the same rights live in it, and everything
//! that can follow in the other can follow in it, covered again. A covered state need not be looked at.
//!
//! - **Renewals arrive at once or never** ([`Delivery::Prompt`](super::config::Delivery)). One that
//!   arrives late gives its holder less than one sent and received at that later moment, and promises
//!   the same; the holder may send at every moment. Where it may not, because it is over or its process
//!   is gone, nobody counts the answer: all that such a renewal does is to keep others waiting and to
//!   tell of an epoch. The exception is a renewal by a membership that its holder no longer counts with:
//!   nothing that it could send now is the same. Those are kept, and may arrive late.
//! - **Answers arrive at once.** A late one opens the gate later, until the same close. One that is lost
//!   is as good as a renewal that was never received, except where it would have opened the gate of a
//!   holder whom a change of the voters then closes for ever: there both are looked at (`opens`).
//! - **Releases arrive at once at everybody.** A voter that was released grants all that it would grant
//!   without. For the same reason a holder whose right has ended releases at once.
//! - **The log is read where it allows something**: a primary reads of itself, with everything before
//!   that. Whoever only reads that an epoch has ended refuses more than before, and a voter adopts the
//!   epoch anyway when it is first asked for it. What says nothing more to a node is as good as read.
//! - **Any leader's word that the log is complete comes at once**: see `catch_up` in the log.
//! - **Only those start again who have something to lose**: the others would only have to wait.
//! - **Of nodes that nothing has distinguished, the first is named**: 1 and 2 begin alike, so a history in
//!   which 2 is named before 1 is one of those in which 1 is, with the names exchanged. A process that
//!   was never named and starts again is as good as the one before it.
//! - **No clock goes on**, where the ticks are not counted: all times are set back to where they began
//!   ([`Grantor::rebased`](pgha_core::lease::Grantor::rebased), which has a test of its own that no answer
//!   changes). So two states that differ only in what has lapsed are one, and time is without end.
//! - **Facts that should occur somewhere are noted beside the states** ([`Seen`](super::seen::Seen)).
//!
//! Those about messages and reading are not only argued: in a small world everything that shows without
//! them shows with them, and that is a test.

use std::sync::Arc;

use pgha_core::lease::Hold;
use pgha_core::{Epoch, Nonce, RaftId};

use super::LeaseModel;
use super::world::{Entry, Message, Sent, State};

/// The process of an entry that nobody will read.
const NOBODY: Nonce = Nonce(0);

impl LeaseModel {
    /// Drops what can change nothing any more, or only make somebody wait longer.
    pub(super) fn reduce(&self, state: &mut State) {
        self.end_holders(state);
        forget_harmless_messages(state);
        self.forget_what_was_read(state);
        self.forget_the_time(state);
    }

    /// A node that finds nothing for itself in the rest of the log may as well have read it, and an entry
    /// that names nobody who could still read it says no more than that there was one.
    fn forget_what_was_read(&self, state: &mut State) {
        if self.is_late() {
            return;
        }
        for index in 0..self.nodes {
            let applied = state.nodes[index].applied;
            if self.voters_may_change() {
                self.settle(state, index);
            } else if applied < state.log.len() && self.readings(state, index).next().is_none() {
                state.node(index).applied = state.log.len();
            }
        }
        for at in 0..state.log.len() {
            if let Entry::Primary(epoch, node, nonce) = state.log[at]
                && nonce != NOBODY
                && (state.nodes[node].applied > at || !self.names(state, node, node, nonce, epoch))
            {
                Arc::make_mut(&mut state.log)[at] = Entry::Primary(epoch, node, NOBODY);
            }
        }
    }

    /// Sets every clock back to the beginning, where nobody counts the ticks.
    fn forget_the_time(&self, state: &mut State) {
        // A renewal by an older membership may be under way until the tick is over.
        let under_way = self.voters_may_change() && state.tick == 0;
        if self.ticks.is_some() || under_way {
            return;
        }
        let now = self.now(state);
        state.tick = 0;
        let begin = self.now(state);
        let longest = self.longest_wait();
        for index in 0..self.nodes {
            let node = state.node(index);
            node.grantor = node
                .grantor
                .rebased(now, begin, longest, !self.voters_may_change());
            if let Some(holder) = &mut node.holder {
                *holder = holder.rebased(now, begin);
            }
            node.sends.clear();
            self.number_a_send(state, index);
        }
    }

    /// Lets each holder see that its time is over, and forgets one whose right has ended and whose
    /// release nobody would take.
    pub(super) fn end_holders(&self, state: &mut State) {
        let now = self.now(state);
        for index in 0..self.nodes {
            let Some(mut holder) = state.nodes[index].holder.clone() else {
                continue;
            };
            let over = holder.hold(now) == Hold::Over;
            let right = holder.deadlines().is_some_and(|at| now < at.end);
            if over {
                let epoch = holder.epoch();
                let node = state.node(index);
                node.sends.clear();
                node.sends_left = 0;
                node.holder = (right || node.believes).then_some(holder);
                if node.holder.is_none() {
                    self.release(state, index, epoch);
                }
            }
        }
    }

    /// Whether the answer to this renewal opens the gate. Any other is better counted than lost.
    pub(super) fn opens(&self, state: &State, sent: &Sent) -> bool {
        let now = self.now(state);
        let Some(mut holder) = state.nodes[sent.from].holder.clone() else {
            return false;
        };
        let before = holder.hold(now);
        holder.granted(RaftId(sent.to as u64), sent.send.number, now);
        before == Hold::Collecting && holder.hold(now) != Hold::Collecting
    }

    /// A start only makes those wait who have promised nothing and hold nothing.
    pub(super) fn has_something_to_lose(&self, state: &State, index: usize) -> bool {
        let node = &state.nodes[index];
        let promised = |epoch: u64| node.grantor.promised(Epoch(epoch));
        node.holder.is_some() || (1..=self.epochs).any(promised)
    }

    /// Whether `node` may be named without looking at histories twice.
    pub(super) fn is_first_of_its_kind(&self, state: &State, node: usize) -> bool {
        node != 2 || self.voters_may_change() || state.named_one
    }
}

fn forget_harmless_messages(state: &mut State) {
    let nodes = &state.nodes;
    state.wire.retain(|message| match message {
        Message::Renewal(sent) => {
            let alive = nodes[sent.from].holder.as_ref();
            let wanted = alive.is_some_and(|holder| holder.epoch() == sent.epoch);
            wanted && nodes[sent.to].adopted <= sent.epoch
        }
        Message::Answer(answer) => nodes[answer.to]
            .holder
            .as_ref()
            .is_some_and(|holder| holder.nonce() == answer.nonce),
        Message::Release(to, epoch) => nodes[*to].grantor.promised(*epoch),
    });
}
