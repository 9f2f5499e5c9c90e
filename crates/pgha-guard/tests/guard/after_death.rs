//! Sidecar or guard killed, or both.

use nix::sys::signal::Signal;
use pgha_core::Epoch;
use pgha_guard::{EmptyCause, GuardLock};

use crate::proc::{self, await_that};
use crate::protocol::Wish;
use crate::world::{World, primary, route, secret};

#[test]
fn the_sidecar_of_a_primary_is_killed() {
    let world = World::new();
    world.initdb();
    let mut sidecar = world.sidecar();
    sidecar.renew(3, 1200);
    sidecar.order(world.postgres(primary(3)));
    sidecar.await_started();
    world.await_postgres();
    let mut clients = world.commit_busily(4);
    let guard = sidecar.guard;
    sidecar.kill();
    let note = world.await_released();
    assert_eq!(world.living(), [0; 0], "released before it was empty");
    assert_eq!((note.epoch, &note.secret), (Epoch(3), &secret(3)));
    assert_eq!(note.cause, EmptyCause::SidecarGone);
    assert_eq!(
        (note.cluster_id, note.generation),
        (route().cluster_id, route().generation)
    );
    assert_eq!((note.holder, note.peers), (route().holder, route().peers));
    assert!(note.seen_to_fenced_us <= note.seen_to_empty_us);
    assert!(
        note.seen_to_empty_us < 200_000,
        "{} us",
        note.seen_to_empty_us
    );
    await_that("the guard to leave", || !proc::is_alive(guard));
    assert!(!world.run_dir().join("guard.pid").exists());
    assert!(!world.run_dir().join("guard.sock").exists());
    GuardLock::try_take(&world.lock_path()).expect("free");
    clients.await_end();
}

#[test]
fn the_guard_is_killed_and_the_sidecar_empties_what_it_left() {
    let world = World::new();
    world.initdb();
    let mut sidecar = world.sidecar();
    sidecar.renew(1, 1200);
    sidecar.order(world.postgres(primary(1)));
    let postmaster = sidecar.await_started();
    world.await_postgres();
    let mut clients = world.commit_busily(4);
    let backends = world.busy_backends();
    // Stopped, so that it is certain to be left over.
    proc::signal(backends[0], Signal::SIGSTOP);
    proc::signal(sidecar.guard, Signal::SIGKILL);
    let status = sidecar.await_gone();
    assert!(status.contains("signal: 9"), "{status}");
    await_that("the kernel to kill the postmaster", || {
        !proc::is_alive(postmaster)
    });
    assert!(proc::is_alive(backends[0]));
    GuardLock::try_take(&world.lock_path()).expect_err("the leftover holds the lock");
    sidecar.wish(&Wish::KillAndEmpty);
    assert!(sidecar.await_emptied() >= 1);
    assert_eq!(world.living(), [0; 0]);
    assert_eq!(
        proc::state(backends[0]),
        None,
        "adopted, killed and reaped by the sidecar"
    );
    clients.await_end();
    // And a new guard can start where the old one ended, for a new epoch.
    sidecar.wish(&Wish::Respawn);
    let mut sidecar = sidecar.await_ready();
    sidecar.renew(2, 1200);
    sidecar.order(world.postgres(primary(2)));
    sidecar.await_started();
    world.await_postgres();
    sidecar.wish(&Wish::AckEmpty);
    sidecar.signal_postmaster(2, pgha_guard::PostmasterSignal::Fast);
    sidecar.await_empty();
    assert_eq!(world.cluster_state(), "shut down");
    sidecar.quit();
}

#[test]
fn both_are_killed_and_the_next_sidecar_empties() {
    let world = World::new();
    world.initdb();
    let mut sidecar = world.sidecar();
    sidecar.renew(1, 1200);
    sidecar.order(world.postgres(primary(1)));
    sidecar.await_started();
    world.await_postgres();
    let mut clients = world.commit_busily(4);
    // Stopped, so that it cannot see the postmaster's death and leave by itself.
    let backends = world.busy_backends();
    proc::signal(backends[0], Signal::SIGSTOP);
    // The guard first: it would otherwise do its work.
    proc::signal(sidecar.guard, Signal::SIGKILL);
    sidecar.kill();
    assert!(proc::is_alive(backends[0]));
    let mut next = world.sidecar();
    next.wish(&Wish::TakeOver);
    assert!(next.await_emptied() >= 1);
    assert_eq!(world.living(), [0; 0]);
    clients.await_end();
    assert!(!world.was_released(), "nobody could prove anything in time");
    next.quit();
}
