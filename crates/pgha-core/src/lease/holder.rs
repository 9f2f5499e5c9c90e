//! The holder's side: for how long this process may serve.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::lease::{Deadlines, LeaseTiming, Quorums};
use crate::{Epoch, Mono, Nonce, RaftId};

/// What a holder may do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// No quorum has answered yet.
    Collecting,
    /// The lease is held until these deadlines.
    Held(Deadlines),
    /// It was held and is over, or a newer epoch is known: this epoch is dead for ever.
    Over,
}

/// The lease of one epoch, as its holder counts it. Validity runs from the *send* of a renewal: a
/// grantor promises from its receipt, which is never before the send. `M` names an effective membership
/// (its log id).
///
/// An answer counts in the membership that it was asked under, and in no other. A voter that got the next
/// one early has waited while the others still granted by the one before it: what it grants then proves
/// nothing about a quorum of the membership after that, which nobody had to wait for
/// (docs/decisions/0020). What was held when the membership changed is held until it ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder<M> {
    epoch: Epoch,
    nonce: Nonce,
    timing: LeaseTiming,
    membership: M,
    quorums: Quorums,
    next_send: u64,
    /// By this membership.
    sends: VecDeque<(u64, Mono)>,
    /// By this membership: the newest of them that each voter granted.
    newest: BTreeMap<RaftId, Mono>,
    /// The newest that a quorum granted before [`Self::set_membership`].
    reached_before: Option<Mono>,
    held_until_close: Option<Mono>,
    over: bool,
}

impl<M: PartialEq + Clone> Holder<M> {
    /// Begins to collect the lease of `epoch` for the process with `nonce`. `quorums` are of `membership`,
    /// and of those before it that may count too.
    pub fn new(
        epoch: Epoch,
        nonce: Nonce,
        timing: LeaseTiming,
        membership: M,
        quorums: Quorums,
    ) -> Self {
        Self {
            epoch,
            nonce,
            timing,
            membership,
            quorums,
            // Numbers of different epochs differ: a late answer to an old one counts for nothing.
            next_send: (epoch.0 << 32) + 1,
            sends: VecDeque::new(),
            newest: BTreeMap::new(),
            reached_before: None,
            held_until_close: None,
            over: false,
        }
    }

    /// The epoch.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The process that holds it.
    pub const fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// The lease time in force.
    pub const fn timing(&self) -> LeaseTiming {
        self.timing
    }

    /// Whom to ask.
    pub fn grantors(&self) -> BTreeSet<RaftId> {
        self.quorums.voters()
    }

    /// Whom to ask of these members: the voters, and once the lease is held the learners too. What a
    /// learner promises counts for nothing yet; but a new voter grants only to whom it supports already,
    /// and where two votes are needed of two the lease would end for want of it.
    ///
    /// A holder that still collects must not ask them. It may never get its lease, because the holder
    /// before it has promises of the voters yet; with a learner's support it would need none of theirs
    /// once that learner votes, and be the second primary.
    pub fn asks(
        &mut self,
        members: impl IntoIterator<Item = RaftId>,
        now: Mono,
    ) -> BTreeSet<RaftId> {
        let mut asked = self.grantors();
        if self.is_held(now) {
            asked.extend(members);
        }
        asked
    }

    /// Whether the lease is held.
    pub fn is_held(&mut self, now: Mono) -> bool {
        matches!(self.hold(now), Hold::Held(_))
    }

    /// The effective membership is this one now, or other ones than before count beside it. Answers to
    /// what was sent by another membership count no more, and what they came to stands: the others have
    /// promised it.
    pub fn set_membership(&mut self, membership: M, quorums: Quorums) {
        self.reached_before = self.reached();
        if self.membership != membership {
            self.membership = membership;
            self.sends.clear();
            self.newest.clear();
        }
        self.quorums = quorums;
    }

    /// Numbers a renewal that is about to be sent. `None` when this epoch must not be renewed.
    pub fn send(&mut self, now: Mono) -> Option<u64> {
        if matches!(self.hold(now), Hold::Over) {
            return None;
        }
        let oldest_useful = now - self.timing.lease();
        while self
            .sends
            .front()
            .is_some_and(|(_, at)| *at < oldest_useful)
        {
            self.sends.pop_front();
        }
        let number = self.next_send;
        self.next_send += 1;
        self.sends.push_back((number, now));
        Some(number)
    }

    /// A grantor granted the renewal with this number, however late.
    pub fn granted(&mut self, by: RaftId, send: u64, now: Mono) {
        if matches!(self.hold(now), Hold::Over) {
            return;
        }
        let Some((_, sent)) = self.sends.iter().find(|(number, _)| *number == send) else {
            return;
        };
        let newest = self.newest.entry(by).or_insert(*sent);
        *newest = (*newest).max(*sent);
        if let Some(deadlines) = self.deadlines()
            && now < deadlines.close
        {
            self.held_until_close = Some(deadlines.close);
        }
    }

    /// Somebody has adopted this epoch. A newer one ends this one at once.
    pub fn heard_epoch(&mut self, adopted: Epoch) {
        self.over |= adopted > self.epoch;
    }

    /// Gives the epoch up.
    pub fn abandon(&mut self) {
        self.over = true;
    }

    /// What may be done at `now`. Once the gate had to close, the epoch is over for good.
    pub fn hold(&mut self, now: Mono) -> Hold {
        let Some(close) = self.held_until_close else {
            return if self.over {
                Hold::Over
            } else {
                Hold::Collecting
            };
        };
        self.over |= now >= close;
        match self.deadlines() {
            Some(deadlines) if !self.over => Hold::Held(deadlines),
            Some(_) | None => {
                self.over = true;
                Hold::Over
            }
        }
    }

    /// This holder as it is at `now`, with a clock that shows `to` instead, without the answers that are
    /// too old to count, and as if none were under way. What follows is the same, so whoever goes
    /// through all states can tell two of them for one.
    pub fn rebased(&self, now: Mono, to: Mono) -> Self {
        let counts = |sent: Mono| sent + self.timing.end_after() > now;
        let newest = self.newest.iter().filter(|(_, sent)| counts(**sent));
        let before = self.reached_before.filter(|sent| counts(*sent));
        Self {
            membership: self.membership.clone(),
            quorums: self.quorums.clone(),
            next_send: (self.epoch.0 << 32) + 1,
            sends: VecDeque::new(),
            newest: newest
                .map(|(by, sent)| (*by, to - now.since(*sent)))
                .collect(),
            reached_before: before.map(|sent| to - now.since(sent)),
            held_until_close: self.held_until_close.map(|close| {
                if close <= now {
                    Mono::ZERO
                } else {
                    to + close.since(now)
                }
            }),
            ..*self
        }
    }

    /// The deadlines that the answers so far give, whether passed or not.
    pub fn deadlines(&self) -> Option<Deadlines> {
        Some(self.timing.deadlines(self.reached()?))
    }

    /// The newest send that was granted by a quorum.
    fn reached(&self) -> Option<Mono> {
        let now = self.quorums.reached_at(|id| self.newest.get(&id).copied());
        self.reached_before.max(now)
    }
}
