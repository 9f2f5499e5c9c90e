//! When the raft leader ends an epoch whose primary lives.

use std::time::Duration;

use super::entries::{name, primary};
use super::scene::{NOW, Scene};
use super::views::{expired, report_of};
use crate::command::Revoke;
use crate::decide::*;
use crate::journal::Cause;
use crate::report::{MemberReport, MemberState};
use crate::settings::OnPrimaryCrash;
use crate::{Command, Lsn, StartKind};

/// n2 restarts in place since `minutes`, had come to 0/5000, and n3 has this much.
fn restarting(minutes: u64, replica_end: u64) -> Scene {
    let mut scene = Scene::new();
    scene.local.data = Data::Missing;
    scene.state.settings.max_lag_on_failover = 0x1000;
    scene.revoke(expired());
    scene.apply(primary(2, 2, StartKind::Restart, 1, 1, 0x5000));
    scene.since.phase = NOW - Duration::from_secs(60 * minutes);
    scene.hears(report_of(2));
    scene.hears(MemberReport {
        role: Role::Replica,
        state: MemberState::Fenced,
        timeline: Some(TimelineId(1)),
        received: Some(Lsn(replica_end)),
        ..report_of(3)
    });
    scene
}

fn ends(scene: &Scene) -> bool {
    let ends = |action: &Action| match action {
        Action::Propose(command) => matches!(
            &**command,
            Command::Revoke(Revoke {
                cause: Cause::PromotionFailed { .. },
                ..
            })
        ),
        _ => false,
    };
    scene.decide().actions.iter().any(ends)
}

#[test]
fn a_restart_that_does_not_come_to_serve_is_given_up_for_a_replica() {
    assert!(ends(&restarting(3, 0x4000)));
    assert!(
        !ends(&restarting(1, 0x4000)),
        "crash recovery takes its time"
    );
}

/// n3 was named this long ago and has not opened.
fn promoting(seconds: u64) -> Scene {
    let mut scene = Scene::new();
    scene.local.data = Data::Missing;
    scene.revoke(expired());
    scene.apply(primary(2, 3, StartKind::Promotion, 2, 1, 0x5000));
    scene.since.phase = NOW - Duration::from_secs(seconds);
    scene.hears(report_of(3));
    scene
}

/// P10: however well it is, somebody else has his turn then.
#[test]
fn a_promotion_that_does_not_open_is_ended_after_a_minute() {
    assert!(!ends(&promoting(59)));
    assert!(ends(&promoting(60)));
}

/// It would only begin anew, again and again.
#[test]
fn a_restart_goes_on_for_as_long_as_it_takes_where_nobody_may_replace_it() {
    assert!(!ends(&restarting(60, 0x3FFF)), "it lacks too much");
    let mut excluded = restarting(60, 0x5000);
    let member = excluded.state.members.get_mut(&name(3)).expect("a member");
    member.excluded = true;
    assert!(!ends(&excluded));
    let mut ordered = restarting(60, 0x5000);
    ordered.state.settings.on_primary_crash = OnPrimaryCrash::Restart;
    assert!(!ends(&ordered));
}

/// P11: a leader that has just been elected, or was cut off, has heard of nobody.
#[test]
fn whom_a_leader_has_not_heard_is_not_silent() {
    let mut scene = Scene::new();
    scene.local.data = Data::Missing;
    let silent = |number| {
        let mut report = report_of(number);
        report.grant.epoch = scene.state.epoch;
        report.grant.silent = true;
        report
    };
    let (second, third) = (silent(2), silent(3));
    let revokes = |scene: &Scene| {
        let is_revoke = |action: &Action| match action {
            Action::Propose(command) => matches!(**command, Command::Revoke(_)),
            _ => false,
        };
        scene.decide().actions.iter().any(is_revoke)
    };
    assert!(!revokes(&scene), "nobody was heard");
    scene.hears(third);
    assert!(!revokes(&scene), "one of three says so");
    scene.hears(second);
    assert!(revokes(&scene), "a quorum does");
}
