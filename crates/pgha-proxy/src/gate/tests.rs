use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::*;

/// A clock that stands until it is moved.
#[derive(Default)]
struct Hand(AtomicU64);

impl Hand {
    fn at(millis: u64) -> Arc<Self> {
        let hand = Arc::new(Self::default());
        hand.set(millis);
        hand
    }

    fn set(&self, millis: u64) {
        self.0.store(millis * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn now(&self) -> Mono {
        Mono::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

fn setting(epoch: u64, hold_at: u64, close_at: u64) -> GateSetting {
    GateSetting {
        epoch: Epoch(epoch),
        hold_at: Mono::from_millis(hold_at),
        close_at: Mono::from_millis(close_at),
    }
}

#[test]
fn starts_closed_and_follows_its_deadlines() {
    let clock = Hand::at(100);
    let gate = Gate::with_clock(clock.clone());
    assert!(!gate.is_open() && gate.enter().is_none());
    gate.set(setting(1, 200, 300)).unwrap();
    let pass = gate.enter().unwrap();
    assert!(pass.may_pass());
    clock.set(200);
    assert!(gate.enter().is_none(), "held from hold_at on");
    assert!(pass.may_pass(), "an established session goes on");
    clock.set(300);
    assert!(!pass.may_pass() && !gate.is_open());
}

#[test]
fn an_epoch_that_lapsed_is_never_renewed() {
    let clock = Hand::at(100);
    let gate = Gate::with_clock(clock.clone());
    gate.set(setting(1, 200, 300)).unwrap();
    let pass = gate.enter().unwrap();
    clock.set(300);
    let late = gate.extend(Epoch(1), Mono::from_millis(400), Mono::from_millis(500));
    assert_eq!(late, Err(GateRefused::Over { epoch: Epoch(1) }));
    assert_eq!(
        gate.set(setting(1, 400, 500)),
        Err(GateRefused::Over { epoch: Epoch(1) })
    );
    assert!(!pass.may_pass() && pass.is_over());
    assert_eq!(gate.setting(), GateSetting::CLOSED);
}

#[test]
fn orders_of_other_epochs_are_refused() {
    let gate = Gate::with_clock(Hand::at(100));
    gate.set(setting(2, 200, 300)).unwrap();
    let refused = GateRefused::OtherEpoch {
        asked: Epoch(1),
        current: Epoch(2),
    };
    assert_eq!(gate.set(setting(1, 200, 300)), Err(refused));
    let ahead = gate.extend(Epoch(3), Mono::from_millis(200), Mono::from_millis(300));
    assert_eq!(
        ahead,
        Err(GateRefused::OtherEpoch {
            asked: Epoch(3),
            current: Epoch(2)
        })
    );
    assert!(!gate.drain_idle(Epoch(1)) && !gate.hold_new(Epoch(3)));
    gate.close();
    assert!(
        !gate.hold_new(Epoch(2)),
        "there is nothing to hand over behind a shut gate"
    );
    assert!(gate.set(setting(2, 200, 300)).is_err());
    gate.set(setting(3, 200, 300)).unwrap();
    assert!(gate.is_open());
}

#[test]
fn a_new_epoch_ends_the_sessions_of_the_old() {
    let gate = Gate::with_clock(Hand::at(100));
    gate.set(setting(1, 200, 300)).unwrap();
    let old = gate.enter().unwrap();
    gate.set(setting(2, 200, 300)).unwrap();
    assert!(!old.may_pass() && old.is_over());
    let new = gate.enter().unwrap();
    assert!(new.may_pass());
    assert_eq!((gate.sessions(Epoch(1)), gate.sessions(Epoch(2))), (0, 1));
    drop(new);
    assert_eq!(gate.sessions(Epoch(2)), 0);
}

#[test]
fn a_handover_holds_drains_and_resumes() {
    let gate = Gate::with_clock(Hand::at(100));
    gate.set(setting(1, 200, 300)).unwrap();
    let pass = gate.enter().unwrap();
    assert!(gate.hold_new(Epoch(1)));
    assert!(gate.enter().is_none() && gate.enter_to_cancel().is_some() && !pass.is_draining());
    assert!(gate.drain_idle(Epoch(1)));
    assert!(pass.is_draining() && pass.may_pass());
    assert!(gate.resume(Epoch(1)));
    assert!(gate.enter().is_some() && !pass.is_draining());
}

/// Odd epochs are set with a deadline in the past, even ones with one far ahead; whatever a
/// session reads while they are written, it must never pass for the epoch that is over.
#[test]
fn no_epoch_passes_with_the_deadline_of_another() {
    let clock = Hand::at(1000);
    let gate = Arc::new(Gate::with_clock(clock));
    let stop = Arc::new(AtomicBool::new(false));
    let sessions: Vec<_> = (0..4)
        .map(|_| {
            let (gate, stop) = (Arc::clone(&gate), Arc::clone(&stop));
            thread::spawn(move || {
                let mut passed = 0_u64;
                loop {
                    // Read first: the look after the last epoch was set must find it open.
                    let last_look = stop.load(Ordering::SeqCst);
                    let cell = gate.cell();
                    if cell.may_pass() {
                        assert_eq!(cell.epoch.0 % 2, 0, "epoch {} passed", cell.epoch);
                        passed += 1;
                    }
                    if let Some(pass) = gate.enter() {
                        assert_eq!(pass.epoch.0 % 2, 0, "epoch {} entered", pass.epoch);
                    }
                    if last_look {
                        break;
                    }
                }
                passed
            })
        })
        .collect();
    for epoch in 1..=20_000 {
        let close_at = if epoch % 2 == 0 { 1_000_000 } else { 500 };
        gate.set(setting(epoch, close_at, close_at)).unwrap();
        if epoch % 2 == 0 {
            gate.extend(
                Epoch(epoch),
                Mono::from_millis(2_000_000),
                Mono::from_millis(2_000_000),
            )
            .unwrap();
        }
    }
    stop.store(true, Ordering::SeqCst);
    for session in sessions {
        assert!(session.join().unwrap() > 0, "a session never passed at all");
    }
}

/// Closing races with extensions: once closed, no extension may open it again.
#[test]
fn an_extension_never_undoes_a_close() {
    for _ in 0..500 {
        let gate = Arc::new(Gate::with_clock(Hand::at(1)));
        gate.set(setting(1, 1_000, 1_000)).unwrap();
        let extending = Arc::clone(&gate);
        let extender = thread::spawn(move || {
            let mut deadline = 1_000;
            while extending
                .extend(
                    Epoch(1),
                    Mono::from_millis(deadline),
                    Mono::from_millis(deadline),
                )
                .is_ok()
            {
                deadline += 1;
            }
        });
        gate.close();
        assert!(!gate.is_open());
        extender.join().unwrap();
        assert!(!gate.is_open(), "an extension opened a closed gate");
    }
}
