//! Who releases an epoch, and a release program that hangs.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use pgha_core::{Epoch, MemberName};
use pgha_guard::{Event, Order, ReleaseOutcome};

use crate::proc::{self, await_that};
use crate::world::{Sidecar, World, primary, route, standby};

fn await_outcome(sidecar: &Sidecar) -> (Epoch, ReleaseOutcome) {
    sidecar.event("ReleaseFinished", |event| match event {
        Event::ReleaseFinished { epoch, outcome } => Some((epoch, outcome)),
        _ => None,
    })
}

#[test]
fn the_guard_releases_what_the_sidecar_leaves_to_whom_it_named_last() {
    let world = World::new();
    let mut sidecar = world.sidecar();
    sidecar.set_deadline(1, 2000);
    sidecar.order(world.shell("sleep 600", primary(1)));
    sidecar.await_started();
    let mut new = route();
    new.peers.pop();
    sidecar.order(Order::Route {
        epoch: Epoch(1),
        route: new,
    });
    sidecar.order(Order::Empty { epoch: Epoch(1) });
    sidecar.await_empty();
    assert_eq!(await_outcome(&sidecar), (Epoch(1), ReleaseOutcome::Sent));
    let note = world.await_released();
    let names: Vec<MemberName> = note.peers.into_iter().map(|peer| peer.name).collect();
    assert_eq!(names, ["n2".into()]);
    sidecar.quit();
}

/// It may have an acknowledgement in a socket, and its gate is open by its clock when it runs again.
#[test]
fn what_a_sidecar_that_stands_still_has_not_taken_over_is_released_at_the_deadline() {
    let world = World::new();
    let mut sidecar = world.sidecar();
    sidecar.set_deadline(1, 1500);
    let renewed = Instant::now();
    sidecar.order(world.shell("sleep 600", primary(1)));
    let shell = sidecar.await_started();
    proc::signal(shell, Signal::SIGKILL);
    sidecar.await_empty();
    await_that("the release", || world.was_released());
    let waited = renewed.elapsed();
    assert!(waited >= Duration::from_millis(1400), "{waited:?}");
    sidecar.quit();
}

/// While one epoch's release hangs, the next tree is started, emptied and proven empty.
#[test]
fn a_hanging_release_program_is_no_part_of_the_tree_and_has_a_deadline() {
    let world = World::new();
    std::fs::write(world.path("released.hang"), "").expect("written");
    let mut sidecar = world.sidecar();
    sidecar.renew(1, 2000);
    sidecar.order(world.shell("sleep 600", primary(1)));
    sidecar.await_started();
    sidecar.order(Order::Empty { epoch: Epoch(1) });
    sidecar.await_empty();
    // Without an acknowledgement, a start leaves the release to the guard at once.
    sidecar.order(world.shell("sleep 600 & sleep 600", standby(1)));
    let shell = sidecar.await_started();
    let mut program = None;
    await_that("the release program", || {
        program = release_program(sidecar.guard);
        program.is_some()
    });
    let program = program.expect("just seen");
    await_that("both sleepers", || world.living().len() == 3);
    sidecar.order(Order::Empty { epoch: Epoch(1) });
    sidecar.await_empty();
    assert_eq!(world.living(), [0; 0]);
    assert!(!proc::is_alive(shell));
    assert!(proc::is_alive(program), "not of the tree");
    assert_eq!(
        await_outcome(&sidecar),
        (Epoch(1), ReleaseOutcome::TimedOut)
    );
    assert!(!proc::is_alive(program));
    assert!(!world.was_released());
    sidecar.quit();
}

/// The guard's child that is the release program.
fn release_program(guard: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{guard}/task/{guard}/children"));
    let children = children.expect("alive");
    children
        .split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .find(|pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|word| word == b"release")
        })
}
