//! What a holder counts, and when it is over.

use super::*;

fn quorums(ids: &[u64]) -> Quorums {
    Quorums::new([ids.iter().copied().map(RaftId).collect()])
}

fn holder() -> Holder<u64> {
    let timing = LeaseTiming::from_millis(1500).expect("valid");
    Holder::new(Epoch(1), Nonce(7), timing, 1, quorums(&[1, 2, 3]))
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

/// The answer that 3 gave by the membership before proves nothing in this one.
#[test]
fn an_answer_counts_in_the_membership_that_it_was_asked_under() {
    let mut holder = holder();
    let early = holder.send(Mono::ZERO).expect("collecting");
    holder.granted(RaftId(1), early, Mono::ZERO);
    holder.set_membership(2, quorums(&[1, 3]));
    holder.granted(RaftId(3), early, Mono::ZERO);
    assert_eq!(holder.hold(Mono::ZERO), Hold::Collecting);
    let send = holder.send(Mono::ZERO).expect("collecting");
    holder.granted(RaftId(3), send, Mono::ZERO);
    assert_eq!(holder.hold(Mono::ZERO), Hold::Collecting);
    holder.granted(RaftId(1), send, Mono::ZERO);
    assert!(matches!(holder.hold(Mono::ZERO), Hold::Held(_)));
}

#[test]
fn what_was_held_when_the_membership_changed_is_held_until_it_ends() {
    let mut holder = holder();
    let first = holder.send(Mono::ZERO).expect("collecting");
    for id in 1..=2 {
        holder.granted(RaftId(id), first, Mono::ZERO);
    }
    let held = holder.deadlines();
    holder.set_membership(2, quorums(&[1, 3]));
    assert_eq!(holder.deadlines(), held);
    assert!(holder.is_held(Mono::from_millis(999)));
    let second = holder.send(Mono::from_millis(999)).expect("held");
    holder.granted(RaftId(1), second, Mono::from_millis(999));
    assert_eq!(holder.deadlines(), held, "3 has not answered");
    let mut renewed = holder.clone();
    renewed.granted(RaftId(3), second, Mono::from_millis(999));
    assert!(renewed.is_held(Mono::from_millis(1998)));
    // Nor do other halves beside the same membership take away what was held.
    renewed.set_membership(2, quorums(&[1, 3, 4, 5]));
    assert!(renewed.is_held(Mono::from_millis(1998)));
    assert_eq!(holder.hold(Mono::from_millis(1000)), Hold::Over);
}

proptest::proptest! {
    #[test]
    fn holds_at_another_time_as_it_would(
        before in proptest::collection::vec((0u64..6, 0u64..4), 0..12),
        after in proptest::collection::vec((0u64..6, 0u64..4), 0..12),
    ) {
        let run = |holder: &mut Holder<u64>, mut now: Mono, steps: &[(u64, u64)]| {
            let mut seen = Vec::new();
            for (halves, by) in steps {
                now = now + std::time::Duration::from_millis(halves * 250);
                let held = matches!(holder.hold(now), Hold::Held(_));
                seen.push((held, holder.hold(now) == Hold::Over));
                if *by == 0 {
                    holder.set_membership(*halves, quorums(&[1, 2, 3]));
                } else if let Some(send) = holder.send(now) {
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
