use super::*;
use proptest::prelude::*;
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

const fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn step(asked: Asked, told: Told, sent: u64, ended: u64) -> Step {
    Step {
        asked,
        told,
        sent: at(sent),
        ended: Some(at(ended)),
    }
}

fn read(value: i64, sent: u64, ended: u64) -> Step {
    step(Asked::Read, Told::Value(value), sent, ended)
}

fn write(value: i64, sent: u64, ended: u64) -> Step {
    step(Asked::Write(value), Told::Done, sent, ended)
}

fn swap(from: i64, to: i64, told: Told, sent: u64, ended: u64) -> Step {
    step(Asked::Swap { from, to }, told, sent, ended)
}

#[test]
fn overlapping_operations_may_have_any_order() {
    let good = [
        vec![],
        vec![read(0, 0, 1), write(1, 2, 3), read(1, 4, 5)],
        vec![write(1, 0, 10), read(0, 1, 2), read(1, 3, 4)],
        vec![write(1, 0, 10), write(2, 0, 10), read(1, 11, 12)],
        vec![write(1, 0, 10), write(2, 0, 10), read(2, 11, 12)],
        vec![
            swap(0, 1, Told::Done, 0, 5),
            swap(0, 2, Told::Differs, 1, 6),
        ],
    ];
    for history in good {
        assert_eq!(explain(0, history.clone()), Ok(()), "{history:?}");
    }
}

#[test]
fn what_no_order_explains_is_refused() {
    let bad = [
        // A stale read.
        vec![write(1, 0, 1), read(0, 2, 3)],
        // Seen and gone again.
        vec![write(1, 0, 10), read(1, 1, 2), read(0, 3, 4)],
        // Two that both found the same.
        vec![swap(0, 1, Told::Done, 0, 5), swap(0, 2, Told::Done, 1, 6)],
        // A value that nobody wrote.
        vec![read(7, 0, 1)],
        // Refused although nothing else was there.
        vec![swap(0, 1, Told::Differs, 0, 1)],
        // Both orders of two writes are seen, in later pieces.
        vec![
            write(1, 0, 10),
            write(2, 0, 10),
            read(1, 11, 12),
            read(2, 13, 14),
        ],
    ];
    for history in bad {
        let objection = explain(0, history.clone());
        assert!(
            matches!(objection, Err(Objection::NoOrder(..))),
            "{history:?}"
        );
    }
}

#[test]
fn an_end_that_nobody_knows_may_come_late() {
    let open = Step {
        ended: None,
        ..write(1, 0, 0)
    };
    assert_eq!(
        explain(0, vec![open, read(0, 100, 101), read(1, 102, 103)]),
        Ok(())
    );
    assert!(explain(0, vec![open, read(1, 100, 101), read(0, 102, 103)]).is_err());
}

/// Two clients that take turns, while what another one sent at first comes through at some time.
fn long_overlapped(turns: i64) -> Vec<Step> {
    let mut steps = vec![write(-1, 0, 1_000_000)];
    for value in 1..=turns {
        let t = value.unsigned_abs() * 10;
        steps.push(write(value, t, t + 4));
        steps.push(read(value, t + 5, t + 9));
    }
    steps
}

#[test]
fn a_late_write_may_overlap_hundreds_of_operations() {
    let mut steps = long_overlapped(300);
    assert_eq!(explain(0, steps.clone()), Ok(()));
    // It was seen in the middle, and what it had overwritten is there again later.
    steps.extend([read(-1, 1_506, 1_508), read(150, 1_509, 1_509)]);
    assert!(explain(0, steps.clone()).is_err());
    steps.truncate(steps.len() - 2);
    steps.push(read(7, 2_506, 2_507));
    assert!(explain(0, steps).is_err());
}

#[test]
fn too_many_orders_are_not_tried() {
    let together: Vec<Step> = (1..=30).map(|value| write(value, 0, 10)).collect();
    assert_eq!(explain(0, together), Err(Objection::TooMany(30)));
}

#[derive(Clone, Debug, PartialEq)]
struct Register(i64);

impl SequentialSpec for Register {
    type Op = Asked;
    type Ret = Told;

    fn invoke(&mut self, asked: &Asked) -> Told {
        match *asked {
            Asked::Read => Told::Value(self.0),
            Asked::Write(to) => {
                self.0 = to;
                Told::Done
            }
            Asked::Swap { from, to } if from == self.0 => {
                self.0 = to;
                Told::Done
            }
            Asked::Swap { .. } => Told::Differs,
        }
    }
}

/// Another tester's word on a history of clients that each do one thing at a time.
fn other_tester(clients: &[Vec<Step>]) -> bool {
    let mut events: Vec<(Duration, bool, usize, Step)> = Vec::new();
    for (client, steps) in clients.iter().enumerate() {
        for step in steps {
            events.push((step.sent, false, client, *step));
            events.extend(step.ended.map(|ended| (ended, true, client, *step)));
        }
    }
    // Sent at the very moment of another's end is at the same time as it.
    events.sort_by_key(|(at, is_end, client, _)| (*at, *is_end, *client));
    let mut tester = LinearizabilityTester::new(Register(0));
    for (_, is_end, client, step) in events {
        let noted = if is_end {
            tester.on_return(client, step.told)
        } else {
            tester.on_invoke(client, step.asked)
        };
        noted.expect("one at a time");
    }
    tester.is_consistent()
}

fn any_step() -> impl Strategy<Value = (Asked, Told)> {
    let value = || 0_i64..3;
    prop_oneof![
        value().prop_map(|seen| (Asked::Read, Told::Value(seen))),
        value().prop_map(|to| (Asked::Write(to), Told::Done)),
        (value(), value(), any::<bool>()).prop_map(|(from, to, done)| {
            let told = if done { Told::Done } else { Told::Differs };
            (Asked::Swap { from, to }, told)
        }),
    ]
}

/// Up to three clients, each with up to three operations, pauses and lengths at random.
fn any_clients() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let one = (any_step(), 1_u64..8, 1_u64..12);
    let client = proptest::collection::vec(one, 0..4).prop_map(|drawn| {
        let mut now = 0;
        let mut steps = Vec::new();
        for ((asked, told), pause, length) in drawn {
            steps.push(step(asked, told, now + pause, now + pause + length));
            now += pause + length;
        }
        steps
    });
    proptest::collection::vec(client, 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn both_testers_agree(clients in any_clients()) {
        let all: Vec<Step> = clients.iter().flatten().copied().collect();
        let ours = explain(0, all).is_ok();
        prop_assert_eq!(ours, other_tester(&clients), "{:?}", clients);
    }

    /// What one register really did is never refused, however long the answers took.
    #[test]
    fn true_histories_pass(drawn in proptest::collection::vec((any_step(), 0_u64..40, 0_u64..40), 1..120)) {
        let mut register = Register(0);
        let steps = drawn.iter().enumerate().map(|(index, ((asked, _), before, after))| {
            let now = 100 + index as u64 * 10;
            let told = register.invoke(asked);
            step(*asked, told, now - before, now + after)
        });
        prop_assert_eq!(explain(0, steps.collect()), Ok(()));
    }
}
