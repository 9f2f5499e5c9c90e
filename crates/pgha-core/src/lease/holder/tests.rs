//! What a holder counts, and when it is over.

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
