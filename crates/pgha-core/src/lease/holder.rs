//! The holder's side: for how long this process may serve.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::lease::{Deadlines, LeaseTiming};
use crate::{Epoch, Mono, Nonce, RaftId};

/// Sets of voters, in each of which a majority is needed: every half of the last committed and of
/// the effective membership.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Quorums(Vec<BTreeSet<RaftId>>);

impl Quorums {
    /// From the voter sets of both memberships; equal ones count once.
    pub fn new(sets: impl IntoIterator<Item = BTreeSet<RaftId>>) -> Self {
        let mut unique: Vec<BTreeSet<RaftId>> = Vec::new();
        for set in sets {
            if !unique.contains(&set) {
                unique.push(set);
            }
        }
        Self(unique)
    }

    /// Whether the voters change: there is more than one set.
    pub const fn are_changing(&self) -> bool {
        self.0.len() > 1
    }

    /// Everybody in any of the sets.
    pub fn voters(&self) -> BTreeSet<RaftId> {
        self.0.iter().flatten().copied().collect()
    }

    /// Whether `yes` holds a majority of each set. Without voters there is no quorum.
    pub fn reached(&self, yes: impl Fn(RaftId) -> bool) -> bool {
        !self.0.is_empty()
            && self.0.iter().all(|set| {
                let count = set.iter().filter(|id| yes(**id)).count();
                count > set.len() / 2
            })
    }

    /// The newest time that a majority of each set has reached: per set the q-th newest, and of
    /// these the oldest.
    pub fn reached_at(&self, newest: impl Fn(RaftId) -> Option<Mono>) -> Option<Mono> {
        let per_set = self.0.iter().map(|set| {
            let mut times: Vec<Mono> = set.iter().filter_map(|id| newest(*id)).collect();
            times.sort_unstable_by(|a, b| b.cmp(a));
            times.get(set.len() / 2).copied()
        });
        // One set without a majority spoils all; no set is no quorum.
        per_set.collect::<Option<Vec<_>>>()?.into_iter().min()
    }
}

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
/// grantor promises from its receipt, which is never before the send.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    epoch: Epoch,
    nonce: Nonce,
    timing: LeaseTiming,
    quorums: Quorums,
    next_send: u64,
    sends: VecDeque<(u64, Mono)>,
    newest: BTreeMap<RaftId, Mono>,
    held_until_close: Option<Mono>,
    over: bool,
}

impl Holder {
    /// Begins to collect the lease of `epoch` for the process with `nonce`.
    pub fn new(epoch: Epoch, nonce: Nonce, timing: LeaseTiming, quorums: Quorums) -> Self {
        Self {
            epoch,
            nonce,
            timing,
            quorums,
            // Numbers of different epochs differ: a late answer to an old one counts for nothing.
            next_send: (epoch.0 << 32) + 1,
            sends: VecDeque::new(),
            newest: BTreeMap::new(),
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

    /// The membership changed: the new quorums count at once, with the answers already there.
    pub fn set_quorums(&mut self, quorums: Quorums) {
        self.quorums = quorums;
        // Their last common answer may be older: a closing that has moved back is as final.
        let close = self.deadlines().map(|deadlines| deadlines.close);
        self.held_until_close = self
            .held_until_close
            .map(|until| close.map_or(until, |close| until.min(close)));
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
        Self {
            quorums: self.quorums.clone(),
            next_send: (self.epoch.0 << 32) + 1,
            sends: VecDeque::new(),
            newest: newest
                .map(|(by, sent)| (*by, to - now.since(*sent)))
                .collect(),
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
        let sent = self
            .quorums
            .reached_at(|id| self.newest.get(&id).copied())?;
        Some(self.timing.deadlines(sent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quorums(ids: &[u64]) -> Quorums {
        Quorums::new([ids.iter().copied().map(RaftId).collect()])
    }

    fn holder() -> Holder {
        let timing = LeaseTiming::from_millis(1500).expect("valid");
        Holder::new(Epoch(1), Nonce(7), timing, quorums(&[1, 2, 3]))
    }

    #[test]
    fn counts_from_the_send_and_not_from_the_answer() {
        let mut holder = holder();
        let send = holder.send(Mono::from_millis(100)).expect("collecting");
        holder.granted(RaftId(1), send, Mono::from_millis(101));
        assert_eq!(holder.hold(Mono::from_millis(101)), Hold::Collecting);
        holder.granted(RaftId(2), send, Mono::from_millis(900));
        let Hold::Held(deadlines) = holder.hold(Mono::from_millis(901)) else {
            panic!("not held")
        };
        assert_eq!(deadlines.close, Mono::from_millis(1100));
    }

    #[test]
    fn never_comes_back_after_the_gate_had_to_close() {
        let mut holder = holder();
        let first = holder.send(Mono::ZERO).expect("collecting");
        let second = holder.send(Mono::from_millis(150)).expect("collecting");
        holder.granted(RaftId(1), first, Mono::from_millis(1));
        holder.granted(RaftId(2), first, Mono::from_millis(2));
        // Both answers to the second send come after the gate closed at 1000 ms.
        holder.granted(RaftId(1), second, Mono::from_millis(1001));
        holder.granted(RaftId(2), second, Mono::from_millis(1002));
        assert_eq!(holder.hold(Mono::from_millis(1003)), Hold::Over);
        assert_eq!(holder.send(Mono::from_millis(1004)), None);
    }

    #[test]
    fn learners_are_asked_once_the_lease_is_held() {
        let mut holder = holder();
        let members = || (1..=4).map(RaftId);
        assert_eq!(
            holder.asks(members(), Mono::ZERO),
            quorums(&[1, 2, 3]).voters()
        );
        let send = holder.send(Mono::ZERO).expect("collecting");
        holder.granted(RaftId(1), send, Mono::ZERO);
        assert_eq!(holder.asks(members(), Mono::ZERO).len(), 3);
        holder.granted(RaftId(2), send, Mono::ZERO);
        assert_eq!(holder.asks(members(), Mono::ZERO).len(), 4);
        assert_eq!(holder.asks(members(), Mono::from_millis(1000)).len(), 3);
    }

    #[test]
    fn a_newer_epoch_ends_it_at_once() {
        let mut holder = holder();
        let send = holder.send(Mono::ZERO).expect("collecting");
        holder.granted(RaftId(1), send, Mono::ZERO);
        holder.granted(RaftId(2), send, Mono::ZERO);
        holder.heard_epoch(Epoch(1));
        assert!(matches!(holder.hold(Mono::ZERO), Hold::Held(_)));
        holder.heard_epoch(Epoch(2));
        assert_eq!(holder.hold(Mono::ZERO), Hold::Over);
    }

    #[test]
    fn a_joint_membership_needs_a_majority_of_each_half() {
        let old: BTreeSet<_> = [1, 2, 3].map(RaftId).into();
        let new: BTreeSet<_> = [3, 4, 5].map(RaftId).into();
        let joint = Quorums::new([old, new]);
        assert!(!joint.reached(|id| id.0 <= 3));
        assert!(joint.reached(|id| id.0 >= 2 && id.0 <= 4));
        assert!(!Quorums::default().reached(|_| true));
        assert_eq!(Quorums::default().reached_at(|_| Some(Mono::ZERO)), None);
        let times = |id: RaftId| (id.0 != 5).then(|| Mono::from_millis(id.0 * 10));
        // Old half: 2nd newest of 10, 20, 30 is 20. New half: 2nd newest of 30, 40 is 30.
        assert_eq!(joint.reached_at(times), Some(Mono::from_millis(20)));
    }

    /// 3 answered the first send only: by the new quorums the gate closes at 1000 ms.
    #[test]
    fn a_closing_that_a_new_membership_moves_back_is_final() {
        let mut holder = holder();
        let first = holder.send(Mono::ZERO).expect("collecting");
        for id in 1..=3 {
            holder.granted(RaftId(id), first, Mono::from_millis(1));
        }
        let second = holder.send(Mono::from_millis(900)).expect("held");
        for id in 1..=2 {
            holder.granted(RaftId(id), second, Mono::from_millis(901));
        }
        holder.set_quorums(quorums(&[1, 3]));
        let late = holder.hold(Mono::from_millis(1100));
        assert_eq!(late, Hold::Over, "{:?}", holder.deadlines());
        assert_eq!(holder.send(Mono::from_millis(1101)), None);
    }

    proptest::proptest! {
        #[test]
        fn holds_at_another_time_as_it_would(
            before in proptest::collection::vec((0u64..6, 1u64..4), 0..12),
            after in proptest::collection::vec((0u64..6, 1u64..4), 0..12),
        ) {
            let run = |holder: &mut Holder, mut now: Mono, steps: &[(u64, u64)]| {
                let mut seen = Vec::new();
                for (halves, by) in steps {
                    now = now + std::time::Duration::from_millis(halves * 250);
                    let held = matches!(holder.hold(now), Hold::Held(_));
                    seen.push((held, holder.hold(now) == Hold::Over));
                    if let Some(send) = holder.send(now) {
                        holder.granted(RaftId(*by), send, now);
                    }
                }
                (seen, now)
            };
            let mut holder = holder();
            let (_, now) = run(&mut holder, Mono::from_millis(10_000), &before);
            let to = Mono::from_millis(90_000);
            let mut moved = holder.rebased(now, to);
            let (expected, _) = run(&mut holder, now, &after);
            proptest::prop_assert_eq!(run(&mut moved, to, &after).0, expected);
        }
    }
}
