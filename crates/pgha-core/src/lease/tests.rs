//! Holders and grantors together, while the membership changes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::{Epoch, Lsn, Mono, Nonce, RaftId};

const OLD: u64 = 10;
const NEW: u64 = 11;

fn quorums(ids: &[u64]) -> Quorums {
    Quorums::new([ids.iter().copied().map(RaftId).collect()])
}

/// The grantors 1 to 4, all with the old membership.
struct Voters(BTreeMap<u64, Grantor<u64>>);

impl Voters {
    fn new() -> Self {
        let grantor = || {
            let mut grantor =
                Grantor::started(Epoch(1), None, Some(OLD), Mono::ZERO, Duration::ZERO);
            grantor.set_caught_up(Duration::ZERO);
            grantor
        };
        Self((1..=4).map(|id| (id, grantor())).collect())
    }

    /// One renewal, answered at once by whomever it reaches.
    fn renew(&mut self, now: Mono, holder: &mut Holder<u64>, membership: u64, reached: &[u64]) {
        let Some(send) = holder.send(now) else { return };
        let renewal = Renewal {
            epoch: holder.epoch(),
            nonce: holder.nonce(),
            timing: holder.timing(),
            start_wait: Duration::ZERO,
            release_hash: release_hash(&[1]),
            flush_lsn: Lsn(0),
            membership,
            adopted: holder.epoch(),
            held: false,
        };
        for id in reached {
            let grantor = self.0.get_mut(id).expect("a voter");
            let mut answer = grantor.renew(now, &renewal);
            if let Answer::AdoptFirst(epoch) = answer {
                grantor.adopt(epoch);
                answer = grantor.renew(now, &renewal);
            }
            if answer == Answer::Granted {
                holder.granted(RaftId(*id), send, now);
            }
        }
    }
}

/// The voters change from 1, 2, 3 to 1, 2, 4; 1 holds, acknowledges the change to the raft leader 2,
/// and is cut off with 3 from the two others. Returns when both held, if they did, and whether the
/// new holder ever did.
fn change_of_voters(told: &[u64]) -> (Option<Mono>, bool) {
    let timing = LeaseTiming::from_millis(1500).expect("valid");
    let mut voters = Voters::new();
    let mut old = Holder::new(Epoch(1), Nonce(1), timing, OLD, quorums(&[1, 2, 3]));
    let mut new = Holder::new(Epoch(2), Nonce(2), timing, NEW, quorums(&[1, 2, 4]));
    let (mut both, mut new_held) = (None, false);
    for ms in (0..4000).step_by(50) {
        let now = Mono::from_millis(ms);
        if ms == 200 {
            for id in told {
                let grantor = voters.0.get_mut(id).expect("a voter");
                grantor.set_membership(NEW, now, timing.promise());
            }
        }
        // Nobody has told the old holder, who still asks by the old membership.
        let reached: &[u64] = if ms < 200 { &[1, 2, 3] } else { &[1, 3] };
        voters.renew(now, &mut old, OLD, reached);
        if ms >= 1000 {
            voters.renew(now, &mut new, NEW, &[2, 4]);
        }
        let holds = |holder: &mut Holder<u64>| matches!(holder.hold(now), Hold::Held(_));
        let new_holds = holds(&mut new);
        new_held |= new_holds;
        if holds(&mut old) && new_holds {
            both = both.or(Some(now));
        }
    }
    (both, new_held)
}

#[test]
fn who_acknowledges_a_membership_grants_by_no_older_one() {
    assert_eq!(change_of_voters(&[1, 2, 4]), (None, true));
    // What it rests on: a grantor that is told later than the raft leader grants to both.
    let (both, _) = change_of_voters(&[2, 4]);
    assert!(both.is_some(), "the test does not see two holders");
}

/// Of five voters 3 holds, by a lease that was doubled when 1 and 5 were cut off with the old raft
/// leader 1. Then 5 starts, and 1 tells it that its log is complete: it believes in the shorter lease.
#[test]
fn a_started_voter_waits_as_long_as_the_next_holder_has_read() {
    let [short, long] = [1500, 3000].map(|ms| LeaseTiming::from_millis(ms).expect("valid"));
    let grantor = |wait| {
        let mut grantor = Grantor::started(Epoch(1), None, Some(OLD), Mono::ZERO, wait);
        grantor.set_caught_up(wait);
        grantor
    };
    let mut grantors: BTreeMap<u64, Grantor<u64>> =
        (1..=5).map(|id| (id, grantor(Duration::ZERO))).collect();
    let mut old = Holder::new(Epoch(1), Nonce(1), long, OLD, quorums(&[1, 2, 3, 4, 5]));
    let renewal = |epoch: u64, start_wait| Renewal {
        epoch: Epoch(epoch),
        nonce: Nonce(epoch),
        timing: long,
        start_wait,
        release_hash: release_hash(&[1]),
        flush_lsn: Lsn(0),
        membership: OLD,
        adopted: Epoch(epoch),
        held: false,
    };
    let begin = Mono::from_millis(10_000);
    let send = old.send(begin).expect("collecting");
    for id in [3, 4, 5] {
        let granted = grantors.get_mut(&id).expect("a voter");
        assert_eq!(
            granted.renew(begin, &renewal(1, long.promise())),
            Answer::Granted
        );
        old.granted(RaftId(id), send, begin);
    }
    let mut started = Grantor::started(Epoch(1), None, Some(OLD), begin, short.promise());
    started.set_caught_up(short.promise());
    // The three who never promised, or have forgotten it, are asked by the holder of the next epoch.
    let late = Mono::from_millis(11_600);
    assert!(matches!(old.hold(late), Hold::Held(_)));
    let asked = |start_wait| {
        let mut grantor = started.clone();
        grantor.adopt(Epoch(2));
        grantor.renew(late, &renewal(2, start_wait))
    };
    let wait = Answer::Refused(RenewalRefusal::StartWait);
    assert_eq!(asked(long.promise()), wait);
    // What it rests on: by its own settings it would make the third vote beside 1 and 2.
    assert_eq!(asked(Duration::ZERO), Answer::Granted);
}
