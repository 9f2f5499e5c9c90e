//! Handovers that do not go as planned.

use std::time::Duration;

use super::entries::name;
use super::scene::{NOW, Scene};
use super::views::{cluster, held, report_of};
use crate::command::{Command, Revoke};
use crate::decide::*;
use crate::journal::Cause;
use crate::{Epoch, Nonce};

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
