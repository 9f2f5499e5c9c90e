//! The tree is emptied, whole, in time, and the report tells the truth.

use std::time::Duration;

use nix::sys::signal::Signal;
use pgha_core::{Epoch, Mono};
use pgha_guard::{EmptyCause, EmptyReport, Event, Order, PostmasterStatus, clock};

use crate::proc::{self, Watch, await_that, living_in};
use crate::protocol::{Said, Wish};
use crate::world::{Sidecar, World, primary, secret, standby};

/// From the fault until nothing is left (M5 measured 40 ms).
const EMPTY_WITHIN: Duration = Duration::from_millis(200);

fn busy_primary(clients: usize) -> (World, Sidecar, u32, crate::postgres::Clients) {
    let world = World::new();
    world.initdb();
    let mut sidecar = world.sidecar();
    sidecar.wish(&Wish::AckEmpty);
    sidecar.renew(1, 1200);
    sidecar.order(world.postgres(primary(1)));
    let postmaster = sidecar.await_started();
    world.await_postgres();
    let clients = world.commit_busily(clients);
    (world, sidecar, postmaster, clients)
}

fn empty_at(report: &EmptyReport) -> Mono {
    report.seen_at + Duration::from_micros(report.seen_to_empty_us)
}

/// Nobody was alive after the guard said that nobody is, and that was soon.
fn check_truth(world: &World, watch: Watch, killed_at: Mono, report: &EmptyReport) {
    assert_eq!(world.living(), [0; 0], "alive after Empty");
    let last_seen = watch.last_seen();
    println!(
        "{}: fenced {} us, empty {} us after it was seen; seen alive last {:?} after the fault",
        report.cause,
        report.seen_to_fenced_us,
        report.seen_to_empty_us,
        last_seen.since(killed_at),
    );
    assert!(
        last_seen < empty_at(report),
        "alive after it was called empty"
    );
    assert!(
        last_seen < killed_at + EMPTY_WITHIN,
        "{:?}",
        last_seen.since(killed_at)
    );
    assert!(empty_at(report) < killed_at + EMPTY_WITHIN);
}

#[test]
fn a_killed_postmaster_takes_its_busy_backend_along() {
    let (world, sidecar, postmaster, mut clients) = busy_primary(1);
    let watch = Watch::over(world.data_dir());
    let killed_at = clock::now();
    proc::signal(postmaster, Signal::SIGKILL);
    let status = sidecar.event("PostmasterExited", |event| match event {
        Event::PostmasterExited { pid, status, .. } => Some((pid, status)),
        Event::Empty(_) => panic!("empty before the postmaster's end was seen"),
        _ => None,
    });
    assert_eq!(status, (postmaster, PostmasterStatus::Killed(9)));
    let report = sidecar.await_empty();
    check_truth(&world, watch, killed_at, &report);
    assert_eq!(report.cause, EmptyCause::PostmasterExited);
    assert_eq!((report.epoch, report.secret), (Epoch(1), Some(secret(1))));
    clients.await_end();
    sidecar.quit();
    assert!(!world.was_released(), "the sidecar took the release over");
}

#[test]
fn a_stopped_backend_dies_too() {
    let (world, sidecar, postmaster, mut clients) = busy_primary(2);
    let backends = world.busy_backends();
    proc::signal(backends[0], Signal::SIGSTOP);
    await_that("a stopped backend", || {
        proc::state(backends[0]).is_some_and(|it| it.0 == 'T')
    });
    let watch = Watch::over(world.data_dir());
    let killed_at = clock::now();
    proc::signal(postmaster, Signal::SIGKILL);
    let report = sidecar.await_empty();
    check_truth(&world, watch, killed_at, &report);
    clients.await_end();
    sidecar.quit();
}

#[test]
fn sixteen_busy_backends_die_when_ordered() {
    let (world, mut sidecar, _, mut clients) = busy_primary(16);
    assert_eq!(world.busy_backends().len(), 16);
    let watch = Watch::over(world.data_dir());
    let killed_at = clock::now();
    sidecar.order(Order::Empty { epoch: Epoch(1) });
    let report = sidecar.await_empty();
    check_truth(&world, watch, killed_at, &report);
    assert_eq!(report.cause, EmptyCause::Ordered);
    clients.await_end();
    sidecar.quit();
}

#[test]
fn a_frozen_sidecar_does_not_outlive_its_lease() {
    let (world, mut sidecar, _, mut clients) = busy_primary(4);
    // From here on every renewal reaches half a second, no more.
    sidecar.set_deadline(2, 500);
    sidecar.renew(2, 500);
    sidecar.order(assume(2));
    sidecar.event("Assumed", |event| {
        matches!(event, Event::Assumed { .. }).then_some(())
    });
    let watch = Watch::over(world.data_dir());
    proc::signal(sidecar.pid(), Signal::SIGSTOP);
    let frozen_at = clock::now();
    let note = world.await_released();
    assert_eq!(
        living_in(&world.data_dir()).len(),
        0,
        "released before empty"
    );
    assert_eq!((note.epoch, note.cause), (Epoch(2), EmptyCause::Deadline));
    proc::signal(sidecar.pid(), Signal::SIGCONT);
    let report = sidecar.await_empty();
    assert_eq!(report.cause, EmptyCause::Deadline);
    let deadline = frozen_at + Duration::from_millis(500);
    check_truth(&world, watch, deadline, &report);
    // The last renewal was sent some milliseconds before the freeze.
    assert!(
        report.seen_at + Duration::from_millis(200) > deadline,
        "killed before its time"
    );
    clients.await_end();
}

#[test]
fn a_guard_that_was_frozen_past_the_deadline_kills_at_once() {
    let (world, mut sidecar, _, mut clients) = busy_primary(4);
    let deadline = sidecar.set_deadline(2, 300);
    sidecar.order(assume(2));
    sidecar.event("Assumed", |event| {
        matches!(event, Event::Assumed { .. }).then_some(())
    });
    proc::signal(sidecar.guard, Signal::SIGSTOP);
    await_that("the deadline", || clock::now() > deadline);
    let watch = Watch::over(world.data_dir());
    let resumed_at = clock::now();
    proc::signal(sidecar.guard, Signal::SIGCONT);
    let report = sidecar.await_empty();
    assert_eq!(report.cause, EmptyCause::Deadline);
    check_truth(&world, watch, resumed_at, &report);
    clients.await_end();
    sidecar.quit();
}

/// Everything a tree can do to get away: a session of its own, a forked-off orphan, another
/// directory, ignored signals, being stopped, many generations.
#[test]
fn nobody_gets_away() {
    let world = World::new();
    let mut sidecar = world.sidecar();
    let script = "
        trap '' TERM INT QUIT HUP
        setsid sleep 600 &
        (setsid sh -c 'sleep 600 & sleep 600' &) &
        sh -c 'sh -c \"sh -c \\\"sleep 600; true\\\"; true\"; true' &
        sh -c 'kill -STOP $$; sleep 600' &
        (cd / && exec sh -c 'echo $$ > \"$0\"; exec sleep 600' \"$0\" ) &
        (while :; do sleep 0.01 & done) &
        sleep 600"
        .replace(
            "\"$0\"",
            &format!("'{}'", world.path("elsewhere").display()),
        );
    sidecar.order(world.shell(&script, standby(1)));
    let shell = sidecar.await_started();
    await_that("a large tree", || world.living().len() > 12);
    await_that("one elsewhere", || world.path("elsewhere").exists());
    let mut elsewhere = None;
    await_that("its number", || {
        let written = std::fs::read_to_string(world.path("elsewhere"));
        elsewhere = written.ok().and_then(|pid| pid.trim().parse::<u32>().ok());
        elsewhere.is_some()
    });
    let elsewhere = elsewhere.expect("just read");
    assert!(proc::is_alive(shell) && proc::is_alive(elsewhere));
    sidecar.order(Order::Empty { epoch: Epoch(1) });
    let report = sidecar.await_empty();
    assert_eq!(world.living(), [0; 0]);
    assert!(!proc::is_alive(elsewhere));
    assert_eq!(report.secret, None, "a standby has no secret");
    sidecar.quit();
}

#[test]
fn a_stalled_guard_is_seen_and_replaced_by_force() {
    let (world, mut sidecar, _, mut clients) = busy_primary(4);
    let guard = sidecar.guard;
    sidecar.wish(&Wish::AwaitStall);
    proc::signal(guard, Signal::SIGSTOP);
    let age = sidecar.hear("a stall", |said| match said {
        Said::Stalled { stamp_age_us } => Some(stamp_age_us),
        Said::Failed(words) => panic!("{words}"),
        _ => None,
    });
    assert!(
        (500_000..1_500_000).contains(&age),
        "L/3 is 500 ms, judged after {age} us"
    );
    sidecar.wish(&Wish::KillAndEmpty);
    sidecar.await_emptied();
    assert_eq!(world.living(), [0; 0]);
    assert!(!proc::is_alive(guard));
    clients.await_end();
}

fn assume(epoch: u64) -> Order {
    Order::Assume {
        epoch: Epoch(epoch),
        secret: secret(epoch),
        route: crate::world::route(),
    }
}
