//! Orders that are refused, and what a guard costs and keeps to itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;
use pgha_core::Epoch;
use pgha_guard::{GuardLock, Order, PostmasterSignal, Refusal, StartRole, clock};

use crate::proc::{self, await_that};
use crate::protocol::Wish;
use crate::world::{World, primary, standby};

fn start(world: &World, role: StartRole) -> Order {
    world.shell("sleep 600", role)
}

#[test]
fn a_primary_needs_a_lease_of_its_own_epoch_in_the_future() {
    let world = World::new();
    let mut sidecar = world.sidecar();
    let refused = |refusal: Refusal, board: u64| match refusal {
        Refusal::LeaseNotHeld {
            epoch, board_epoch, ..
        } => {
            assert_eq!((epoch, board_epoch), (Epoch(3), Epoch(board)));
        }
        other => panic!("{other}"),
    };
    sidecar.order(start(&world, primary(3)));
    refused(sidecar.await_refusal(), 0);
    sidecar.set_deadline(2, 5000);
    sidecar.order(start(&world, primary(3)));
    refused(sidecar.await_refusal(), 2);
    sidecar.set_deadline(3, 0);
    sidecar.order(start(&world, primary(3)));
    refused(sidecar.await_refusal(), 3);
    sidecar.set_deadline(4, 5000);
    sidecar.order(start(&world, primary(3)));
    refused(sidecar.await_refusal(), 4);
    assert_eq!(world.living(), [0; 0], "nothing was started");
    assert!(
        GuardLock::try_take(&world.lock_path()).is_ok(),
        "nothing is held"
    );
    sidecar.quit();
}

#[test]
fn the_past_is_refused() {
    let world = World::new();
    let mut sidecar = world.sidecar();
    sidecar.wish(&Wish::AckEmpty);
    sidecar.renew(5, 2000);
    sidecar.order(start(&world, primary(5)));
    let shell = sidecar.await_started();
    let stale = Refusal::Stale {
        epoch: Epoch(4),
        seen: Epoch(5),
    };
    sidecar.order(start(&world, standby(4)));
    assert_eq!(sidecar.await_refusal(), stale);
    sidecar.order(Order::Empty { epoch: Epoch(4) });
    assert_eq!(sidecar.await_refusal(), stale);
    sidecar.signal_postmaster(4, PostmasterSignal::Immediate);
    assert_eq!(sidecar.await_refusal(), stale);
    sidecar.order(start(&world, standby(5)));
    assert_eq!(
        sidecar.await_refusal(),
        Refusal::AlreadyRunning { epoch: Epoch(5) }
    );
    sidecar.order(Order::Quit);
    assert_eq!(sidecar.await_refusal(), Refusal::TreeNotEmpty);
    assert!(proc::is_alive(shell));

    sidecar.order(Order::Empty { epoch: Epoch(5) });
    sidecar.await_empty();
    sidecar.order(start(&world, primary(5)));
    assert_eq!(sidecar.await_refusal(), Refusal::Used { epoch: Epoch(5) });
    sidecar.order(Order::Empty { epoch: Epoch(5) });
    assert_eq!(sidecar.await_refusal(), Refusal::NotRunning);
    // As a standby it may come back under the same epoch.
    sidecar.order(start(&world, standby(5)));
    sidecar.await_started();
    sidecar.order(Order::Empty { epoch: Epoch(5) });
    sidecar.await_empty();
    sidecar.quit();
}

#[test]
fn what_cannot_be_started_is_refused_and_leaves_nothing() {
    let world = World::new();
    let mut sidecar = world.sidecar();
    let held = world.hold_lock();
    sidecar.order(start(&world, standby(1)));
    match sidecar.await_refusal() {
        Refusal::Locked(words) => assert!(words.contains("guard.lock"), "{words}"),
        other => panic!("{other}"),
    }
    drop(held);
    let mut order = start(&world, standby(1));
    if let Order::Start(start) = &mut order {
        start.program = "/nonexistent/postgres".into();
    }
    sidecar.order(order);
    match sidecar.await_refusal() {
        Refusal::Spawn { program, error } => {
            assert!(
                program.ends_with("postgres") && error.contains("No such file"),
                "{error}"
            );
        }
        other => panic!("{other}"),
    }
    GuardLock::try_take(&world.lock_path()).expect("free again");
    sidecar.quit();
}

#[test]
fn a_tree_gets_the_given_environment_and_nothing_else() {
    let world = World::new();
    let mut sidecar = world.sidecar();
    let script =
        "env; ls -l /proc/self/fd | grep -c -e socket: -e memfd; kill -l $(grep -c x /dev/null);
        grep -e SigBlk /proc/self/status; exit 7";
    sidecar.order(world.shell(script, standby(1)));
    sidecar.await_started();
    let report = sidecar.await_empty();
    assert_eq!(report.epoch, Epoch(1));
    let log = fs::read_to_string(world.path("log")).expect("written");
    assert!(log.contains("PATH=/usr/bin:/bin"), "{log}");
    assert!(
        !log.contains("PGHA_TEST"),
        "the guard's own environment: {log}"
    );
    assert!(
        log.lines().any(|line| line == "0"),
        "none of the guard's sockets: {log}"
    );
    assert!(
        log.contains("SigBlk:\t0000000000000000"),
        "no signal blocked: {log}"
    );
    let mode = fs::metadata(world.path("log"))
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    sidecar.quit();
}

#[test]
fn a_guard_with_a_sidecar_does_not_stop_for_a_service_manager() {
    let world = World::new();
    let mut sidecar = world.sidecar();
    sidecar.order(start(&world, standby(1)));
    let shell = sidecar.await_started();
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ] {
        proc::signal(sidecar.guard, signal);
    }
    // An order is taken after the signals: once it is answered, they have been noticed.
    sidecar.order(Order::Quit);
    assert_eq!(sidecar.await_refusal(), Refusal::TreeNotEmpty);
    assert!(proc::is_alive(shell));
    sidecar.order(Order::Empty { epoch: Epoch(1) });
    sidecar.await_empty();
    sidecar.quit();
}

#[test]
fn a_guard_is_small_and_idle() {
    let world = World::new();
    world.initdb();
    let mut sidecar = world.sidecar();
    sidecar.wish(&Wish::AckEmpty);
    sidecar.renew(1, 1200);
    sidecar.order(world.postgres(primary(1)));
    sidecar.await_started();
    world.await_postgres();
    let ticks_before = proc::cpu_ticks(sidecar.guard);
    let began = clock::now();
    let busy = began + std::time::Duration::from_secs(2);
    await_that("two seconds of a lease", || clock::now() > busy);
    let ticks = proc::cpu_ticks(sidecar.guard) - ticks_before;
    let private_kb = proc::private_kb(sidecar.guard);
    println!(
        "guard of a primary: {private_kb} kB private, {ticks} ticks of 10 ms in 2 s, memory lock {:?}",
        sidecar.memory_lock
    );
    assert!(private_kb < 2048, "{private_kb} kB");
    assert!(ticks <= 2, "{ticks} ticks of 10 ms in 2 s: 1 %");
    sidecar.signal_postmaster(1, PostmasterSignal::Fast);
    sidecar.await_empty();
    assert_eq!(world.cluster_state(), "shut down");
    sidecar.quit();
}
