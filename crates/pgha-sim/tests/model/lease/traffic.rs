//! Renewals, answers and releases.

use std::sync::LazyLock;

use pgha_core::lease::{
    Answer as Verdict, Hold, Release, ReleaseHash, Renewal, RenewalRefusal, release_hash,
};
use pgha_core::{Lsn, RaftId};

use crate::rules::Rules;

use super::LeaseModel;
use super::log::adopt;
use super::seen::Fact;
use super::world::{Answer, Message, Node, Send, Sent, State};

/// What the secrets of the epochs hash to.
static HASHES: LazyLock<[ReleaseHash; 8]> =
    LazyLock::new(|| std::array::from_fn(|epoch| release_hash(&(epoch as u64).to_be_bytes())));

impl LeaseModel {
    /// The holder of this node numbers a renewal, if it may. Where messages are prompt it does so with
    /// every tick and every change of the membership: a number that nobody receives changes nothing.
    pub(super) fn number_a_send(&self, state: &mut State, index: usize) {
        if self.is_late() || (self.ticks.is_none() && !self.voters_may_change()) {
            return;
        }
        let now = self.now(state);
        let node = state.node(index);
        let membership = node.membership;
        let Some(holder) = &mut node.holder else {
            return;
        };
        let held = matches!(holder.hold(now), Hold::Held(_));
        let same = |send: &Send| (send.at, send.membership, send.held) == (now, membership, held);
        if node.sends.iter().any(same) {
            return;
        }
        let Some(number) = holder.send(now) else {
            return;
        };
        node.sends.retain(|send| send.membership != membership);
        node.sends.push(Send {
            number,
            at: now,
            membership,
            held,
        });
    }

    /// A renewal to everybody, who receive it when they do. That to itself arrives at once.
    pub(super) fn send(&self, state: &mut State, index: usize) -> Option<()> {
        let now = self.now(state);
        let node = state.node(index);
        let holder = node.holder.as_mut()?;
        let send = Send {
            number: holder.send(now)?,
            at: now,
            membership: node.membership,
            held: false,
        };
        node.sends = vec![send];
        node.sends_left -= 1;
        let voters = self.quorums(state, index).voters();
        for id in voters {
            let sent = self.sent(state, index, id.0 as usize, send)?;
            if sent.to == index {
                self.receive(state, &sent, true);
            } else {
                state.wire.insert(Message::Renewal(sent));
            }
        }
        Some(())
    }

    /// A numbered renewal, or one that is numbered now.
    pub(super) fn take_send(&self, state: &mut State, index: usize, send: usize) -> Option<Send> {
        let now = self.now(state);
        if self.ticks.is_some() || self.voters_may_change() {
            return Some(state.nodes[index].sends[send]);
        }
        let node = state.node(index);
        Some(Send {
            number: node.holder.as_mut()?.send(now)?,
            at: now,
            membership: node.membership,
            held: false,
        })
    }

    /// Whether a renewal that is under way went to this node. One that replaces another of the same
    /// moment, as the lease is held now, asks everybody whom that one asked.
    pub(super) fn was_sent_to(&self, node: &Node, send: usize, to: usize) -> bool {
        let learner = self.joining().any(|id| id.0 as usize == to)
            && node
                .sends
                .get(send)
                .is_some_and(|send| send.membership == 0);
        !learner || node.sends[send].held || self.rules == Rules::LearnersGrant
    }

    pub(super) fn sent(&self, state: &State, from: usize, to: usize, send: Send) -> Option<Sent> {
        let holder = state.nodes[from].holder.as_ref()?;
        Some(Sent {
            from,
            to,
            epoch: holder.epoch(),
            nonce: holder.nonce(),
            send,
        })
    }

    /// A renewal arrives. Its answer is under way, or counted at once, or lost.
    pub(super) fn receive(&self, state: &mut State, sent: &Sent, counted: bool) {
        let now = self.now(state);
        let asked = self.renewal(state, sent);
        let node = state.node(sent.to);
        let mut verdict = node.grantor.renew(now, &asked);
        if let Verdict::AdoptFirst(epoch) = verdict {
            adopt(node, epoch);
            verdict = node.grantor.renew(now, &asked);
        }
        match verdict {
            Verdict::Refused(RenewalRefusal::StartWait) => self.seen.note(Fact::Waited),
            Verdict::Refused(RenewalRefusal::Promised) => {
                self.seen.note(Fact::PromisedToAnother);
            }
            Verdict::Granted | Verdict::AdoptFirst(_) | Verdict::Refused(_) => {}
        }
        if verdict != Verdict::Granted {
            return;
        }
        let answer = sent.answer();
        if self.is_late() && sent.from != sent.to {
            state.wire.insert(Message::Answer(answer));
        } else if counted {
            self.count(state, &answer);
        }
    }

    fn count(&self, state: &mut State, answer: &Answer) {
        let now = self.now(state);
        let node = state.node(answer.to);
        let Some(holder) = node.holder.as_mut().filter(|h| h.nonce() == answer.nonce) else {
            return;
        };
        let mut number = Some(answer.number);
        if self.rules == Rules::CountsFromAnswer {
            number = holder.send(now);
        }
        if let Some(number) = number {
            holder.granted(RaftId(answer.by as u64), number, now);
            self.number_a_send(state, answer.to);
        }
    }

    pub(super) fn deliver(&self, state: &mut State, message: &Message) {
        state.wire.remove(message);
        match message {
            Message::Renewal(sent) => self.receive(state, sent, true),
            Message::Answer(answer) => self.count(state, answer),
            Message::Release(to, epoch) => {
                let secret = epoch.0.to_be_bytes();
                let released = state.node(*to).grantor.release(*epoch, &secret);
                if released == Release::First {
                    self.seen.note(Fact::Released);
                }
            }
        }
    }

    /// A renewal as the grantor reads it. A sender that has restarted says the same as before: its
    /// epoch's lease and settings do not change.
    fn renewal(&self, state: &State, sent: &Sent) -> Renewal<u64> {
        let timing = state.nodes[sent.from]
            .holder
            .as_ref()
            .map_or_else(|| self.timing(state, sent.from), |holder| holder.timing());
        Renewal {
            epoch: sent.epoch,
            nonce: sent.nonce,
            timing,
            start_wait: self.told_wait(state, sent.from),
            release_hash: HASHES[sent.epoch.0 as usize],
            flush_lsn: Lsn(0),
            membership: sent.send.membership,
            adopted: sent.epoch,
            held: sent.send.held || self.rules == Rules::LearnersGrant,
        }
    }
}
