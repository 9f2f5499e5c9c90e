//! A standby outlives its sidecar, until the next one comes.

use std::time::Duration;

use nix::sys::signal::Signal;
use pgha_core::Epoch;
use pgha_guard::{EmptyCause, Event, Order, PostmasterSignal, Refusal};

use crate::proc::{self, await_that};
use crate::protocol::Wish;
use crate::world::{World, primary, route, secret, standby};

fn assume(epoch: u64) -> Order {
    Order::Assume {
        epoch: Epoch(epoch),
        secret: secret(epoch),
        route: route(),
    }
}

#[test]
fn goes_on_without_its_sidecar_and_retires_for_the_next() {
    let world = World::new();
    world.initdb();
    let mut sidecar = world.sidecar();
    sidecar.order(world.postgres(standby(4)));
    let postmaster = sidecar.await_started();
    world.await_postgres();
    let guard = sidecar.guard;
    sidecar.kill();
    await_guard_alone(guard);
    assert_eq!(world.query("SELECT pg_is_in_recovery()"), "t");
    assert!(proc::is_alive(postmaster) && proc::is_alive(guard));
    let pid = std::fs::read_to_string(world.run_dir().join("guard.pid")).expect("written");
    assert_eq!(pid.trim(), guard.to_string());

    let mut next = world.sidecar();
    next.order(world.postgres(standby(4)));
    assert!(
        matches!(next.await_refusal(), Refusal::Locked(_)),
        "the old tree has the lock"
    );
    next.wish(&Wish::TakeOver);
    assert_eq!(next.await_emptied(), 0, "it stopped by itself");
    // Its lock is free a moment before the process is gone.
    let deadline = std::time::Instant::now() + Duration::from_secs(2);
    while proc::is_alive(guard) {
        assert!(
            std::time::Instant::now() < deadline,
            "the old guard lives on"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(world.living(), [0; 0]);
    assert_eq!(
        world.cluster_state(),
        "shut down in recovery",
        "a clean stop"
    );
    assert!(!world.was_released(), "a standby has nothing to release");
    next.order(world.postgres(standby(4)));
    next.await_started();
    world.await_postgres();
    next.signal_postmaster(4, PostmasterSignal::Fast);
    next.await_empty();
    next.quit();
}

#[test]
fn stops_cleanly_when_the_service_manager_asks_a_guard_without_a_sidecar() {
    let world = World::new();
    world.initdb();
    let mut sidecar = world.sidecar();
    sidecar.order(world.postgres(standby(4)));
    sidecar.await_started();
    world.await_postgres();
    let guard = sidecar.guard;
    sidecar.kill();
    await_guard_alone(guard);
    proc::signal(guard, Signal::SIGTERM);
    await_that("the guard to leave", || !proc::is_alive(guard));
    assert_eq!(world.living(), [0; 0]);
    assert_eq!(world.cluster_state(), "shut down in recovery");
}

/// The guard has noticed its sidecar's death once it has closed the socket to it: what is left is
/// the one at the door.
fn await_guard_alone(guard: u32) {
    let is_socket = |entry: std::fs::DirEntry| {
        let target = std::fs::read_link(entry.path());
        target.is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    };
    await_that("the guard to notice", || {
        let files = std::fs::read_dir(format!("/proc/{guard}/fd")).expect("alive");
        files
            .flatten()
            .filter(|entry| entry.file_name().to_str() != Some("2"))
            .filter_map(|entry| is_socket(entry).then_some(()))
            .count()
            == 1
    });
}

#[test]
fn becomes_a_primary_with_a_deadline_without_a_restart() {
    let world = World::new();
    world.initdb();
    let mut sidecar = world.sidecar();
    sidecar.order(world.postgres(standby(4)));
    let postmaster = sidecar.await_started();
    world.await_postgres();
    sidecar.order(assume(5));
    let refusal = sidecar.await_refusal();
    assert!(matches!(refusal, Refusal::LeaseNotHeld { .. }), "{refusal}");

    sidecar.renew(5, 1200);
    sidecar.order(assume(5));
    sidecar.event("Assumed", |event| {
        matches!(event, Event::Assumed { .. }).then_some(())
    });
    world.query("SELECT pg_promote()");
    world.query("CREATE TABLE of_the_new_epoch ()");
    // Reinstated for the next epoch: PostgreSQL goes on.
    sidecar.renew(6, 1200);
    sidecar.order(assume(6));
    sidecar.event("Assumed", |event| {
        matches!(event, Event::Assumed { .. }).then_some(())
    });
    assert!(proc::is_alive(postmaster));
    // The board is at an epoch that is not the tree's: that deadline neither lengthens nor
    // shortens its life.
    let other = sidecar.set_deadline(7, 60_000);
    assert!(proc::is_alive(postmaster));
    let report = sidecar.await_empty();
    assert_eq!(
        (report.epoch, report.cause),
        (Epoch(6), EmptyCause::Deadline)
    );
    assert!(report.seen_at + Duration::from_secs(55) < other);
    assert_eq!(report.secret, Some(secret(6)));
    assert_eq!(
        world.await_released().epoch,
        Epoch(6),
        "nobody acknowledged"
    );
    sidecar.quit();
}

#[test]
fn stands_down_where_no_promotion_came_and_lives_on() {
    let world = World::new();
    let mut sidecar = world.sidecar();
    sidecar.order(world.shell("sleep 600", standby(4)));
    let shell = sidecar.await_started();
    sidecar.set_deadline(5, 800);
    sidecar.order(assume(5));
    sidecar.event("Assumed", |event| {
        matches!(event, Event::Assumed { .. }).then_some(())
    });
    sidecar.order(Order::StandDown { epoch: Epoch(5) });
    sidecar.event("StoodDown", |event| {
        matches!(event, Event::StoodDown { .. }).then_some(())
    });
    let deadline = sidecar.set_deadline(5, 10);
    await_that("the deadline", || pgha_guard::clock::now() > deadline);
    sidecar.set_deadline(5, 10_000);
    sidecar.order(assume(5));
    assert_eq!(sidecar.await_refusal(), Refusal::Used { epoch: Epoch(5) });
    assert!(proc::is_alive(shell), "a standby has no deadline");
    // A tree that was started as primary cannot be talked into having no deadline.
    sidecar.order(Order::Empty { epoch: Epoch(5) });
    sidecar.await_empty();
    sidecar.renew(6, 2000);
    sidecar.order(world.shell("sleep 600", primary(6)));
    sidecar.await_started();
    sidecar.order(Order::StandDown { epoch: Epoch(6) });
    assert_eq!(
        sidecar.await_refusal(),
        Refusal::NotThatPrimary { epoch: Epoch(6) }
    );
    sidecar.order(Order::Empty { epoch: Epoch(6) });
    sidecar.await_empty();
    sidecar.quit();
}
