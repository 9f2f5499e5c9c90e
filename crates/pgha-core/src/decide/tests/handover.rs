//! Handovers that do not go as planned.

use std::time::Duration;

use super::entries::{name, primary};
use super::scene::{NOW, Scene};
use super::views::{at, cluster, expired, held, report_of};
use crate::command::{Command, Revoke};
use crate::decide::*;
use crate::journal::Cause;
use crate::{Epoch, Nonce, StartKind};

#[test]
fn a_holder_that_dies_during_a_handover_is_failed_over_at_once() {
    let mut scene = Scene::new();
    scene.apply(Command::Handover {
        epoch: Epoch(1),
        target: Some(name(3)),
        deadline_ms: 60_000,
    });
    scene.since.handover = NOW;
    scene.local.grant.epoch = Epoch(1);
    scene.local.grant.silent_at = Some(NOW - Duration::from_millis(1));
    let mut third = report_of(3);
    third.grant.epoch = Epoch(1);
    third.grant.silent = true;
    scene.hears(third);
    let revoked = |action: &Action| match action {
        Action::Propose(command) => matches!(
            **command,
            Command::Revoke(Revoke {
                cause: Cause::Expired { .. },
                ..
            })
        ),
        _ => false,
    };
    assert!(scene.decide().actions.iter().any(revoked));
}

#[test]
fn a_planned_release_waits_for_the_shutdown_position_but_not_for_ever() {
    let mut scene = Scene::new();
    scene.me.name = name(2);
    scene.me.nonce = Nonce(2);
    scene.raft.leads = false;
    scene.apply(Command::Handover {
        epoch: Epoch(1),
        target: None,
        deadline_ms: 60_000,
    });
    scene.since.handover = NOW;
    scene.local.lease = held(1);
    scene.local.tree = Tree::Empty;
    let mut releases = |since: Duration, data: Data| {
        scene.local.data = data;
        scene.local.releasable = Some(Releasable {
            epoch: Epoch(1),
            cause: "PostgreSQL was stopped".to_owned(),
            at: NOW - since,
        });
        let is_release = |action: &Action| matches!(action, Action::Release { .. });
        scene.decide().actions.iter().any(is_release)
    };
    let soon = Duration::from_millis(300);
    assert!(!releases(soon, Data::Unknown), "the files are being read");
    assert!(releases(soon, Data::Cluster(cluster())));
    assert!(releases(Duration::from_secs(10), Data::Unknown));
}

/// It cannot answer as the primary that it never was, and is waited for.
#[test]
fn whose_promotion_failed_starts_as_a_standby_at_once() {
    let mut scene = Scene::new();
    scene.me.name = name(3);
    scene.me.nonce = Nonce(3);
    scene.raft.leads = false;
    scene.promote_n3(false);
    scene.local.served = Some(Epoch(2));
    scene.revoke(expired());
    scene.since.phase = NOW;
    scene.local.tree = Tree::Empty;
    assert_eq!(
        scene.decide().actions,
        [Action::StartStandby { pinned: None }]
    );
}

#[test]
fn a_former_primary_does_not_start_as_a_standby_just_as_it_is_elected_to_go_on() {
    let mut scene = Scene::new();
    scene.apply(Command::Handover {
        epoch: Epoch(1),
        target: Some(name(3)),
        deadline_ms: 20_000,
    });
    scene.revoke(Cause::Switchover);
    scene.since.phase = NOW - Duration::from_secs(3);
    // The target is silent; n2 stopped for it and stands.
    scene.stands(2, at(1, 0x1000, &[]), true);
    assert_eq!(scene.elects(), Some((name(2), StartKind::Restart)));
    scene.me.name = name(2);
    scene.me.nonce = Nonce(2);
    scene.raft.leads = false;
    scene.local.tree = Tree::Empty;
    scene.local.served = Some(Epoch(1));
    let starts = |scene: &Scene| scene.decide().actions == [Action::StartStandby { pinned: None }];
    assert!(!starts(&scene), "while that is on its way to n2");
    scene.since.phase = NOW - Duration::from_secs(10);
    assert!(starts(&scene), "but not for ever");
}

#[test]
fn a_stop_that_overtakes_the_start_is_ordered_once_that_has_begun() {
    let mut scene = Scene::new();
    scene.me.name = name(2);
    scene.me.nonce = Nonce(2);
    scene.revoke(expired());
    let epoch = scene.state.epoch.0;
    scene.local.served = Some(Epoch(1));
    scene.local.starts(Tree::Standby {
        since: NOW,
        pinned: None,
    });
    scene.apply(primary(epoch, 2, StartKind::Restart, 1, 1, 0x1000));
    scene.local.lease = held(epoch);
    let stop = [Action::Stop(StopMode::Fast)];
    assert_eq!(scene.decide().actions, stop);
    assert!(!scene.local.stops(StopMode::Fast, NOW), "nothing runs yet");
    scene.local.has_started();
    assert_eq!(scene.decide().actions, stop);
    assert!(scene.local.stops(StopMode::Fast, NOW), "at once");
    assert!(!scene.local.stops(StopMode::Fast, NOW), "once");
}
