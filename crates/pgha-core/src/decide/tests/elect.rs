//! Who is elected, and when nobody is.

use super::entries::{name, primary};
use super::scene::{NOW, Scene};
use super::views::{at, expired, report_of};
use crate::command::{Command, Recover};
use crate::decide::*;
use crate::journal::{Cause, LostRange};
use crate::settings::OnPrimaryCrash;
use crate::{Epoch, Lsn, Nonce, StartKind};
use std::time::Duration;

#[test]
fn waiting_for_reports_that_do_not_come_is_no_busy_loop() {
    let mut scene = Scene::new();
    scene.local.data = Data::Missing;
    scene.revoke(expired());
    // `Scene::decide` looks at the wake time.
    assert_eq!(
        scene.decide().why.cluster.expect("says why").0,
        Reason::NoCandidate
    );
}

fn n3_has_what_two_voters_were_told(scene: &mut Scene) {
    scene.was_told(1, 0x1000);
    scene.stands(3, at(1, 0x1000, &[]), false);
    let other = scene.peers.get_mut(&name(3)).expect("heard");
    other.report.grant.epoch = Epoch(1);
    other.report.grant.remembers = true;
}

/// All were stopped and come back: the replica that answers first has all that it was told, and the old
/// primary wrote on after that.
#[test]
fn the_old_primary_that_comes_back_is_waited_for_whatever_the_others_have() {
    let mut scene = Scene::new();
    scene.local.data = Data::Missing;
    scene.revoke(Cause::HolderRestarted);
    scene.since.phase = NOW - Duration::from_secs(1);
    n3_has_what_two_voters_were_told(&mut scene);
    let comes_back = |scene: &mut Scene, seconds| {
        let mut report = report_of(2);
        report.nonce = Nonce(22);
        scene.hears(report);
        let heard = scene.peers.get_mut(&name(2)).expect("heard");
        heard.since = NOW - Duration::from_secs(seconds);
    };
    comes_back(&mut scene, 2);
    assert_eq!(scene.elects(), None);
    comes_back(&mut scene, 3);
    assert_eq!(scene.elects(), Some((name(3), StartKind::Promotion)));
    comes_back(&mut scene, 2);
    scene.stands(2, at(1, 0x2000, &[]), true);
    assert_eq!(scene.elects(), Some((name(2), StartKind::Restart)));
}

#[test]
fn a_crashed_primary_that_is_to_be_restarted_is_waited_for() {
    for (on_crash, elected) in [
        (OnPrimaryCrash::Restart, None),
        (OnPrimaryCrash::Auto, Some((name(3), StartKind::Promotion))),
    ] {
        let mut scene = Scene::new();
        scene.local.data = Data::Missing;
        scene.state.settings.on_primary_crash = on_crash;
        scene.revoke(expired());
        scene.since.phase = NOW - Duration::from_secs(2);
        n3_has_what_two_voters_were_told(&mut scene);
        scene.hears(report_of(2));
        assert_eq!(scene.elects(), elected);
    }
}

#[test]
fn a_switchover_without_a_target_takes_a_replica_that_has_everything() {
    let mut scene = Scene::new();
    scene.local.data = Data::Missing;
    scene.revoke(Cause::Switchover);
    scene.stands(2, at(1, 0x1000, &[]), true);
    scene.stands(3, at(1, 0x1000, &[]), false);
    assert_eq!(scene.elects(), Some((name(3), StartKind::Promotion)));
}

#[test]
fn a_switchover_whose_target_lags_goes_on_with_the_old_primary() {
    let mut scene = Scene::new();
    scene.local.data = Data::Missing;
    scene.apply(Command::Handover {
        epoch: Epoch(1),
        target: Some(name(3)),
        deadline_ms: 1000,
    });
    scene.revoke(Cause::Switchover);
    scene.stands(2, at(1, 0x1000, &[]), true);
    scene.stands(3, at(1, 0xFF8, &[]), false);
    assert_eq!(scene.elects(), Some((name(2), StartKind::Restart)));
}

#[test]
fn a_newer_timeline_goes_before_a_longer_tail_of_its_parent() {
    let mut scene = Scene::new();
    scene.local.data = Data::Missing;
    scene.promote_n3(false);
    scene.revoke(expired());
    scene.stands(2, at(1, 0x5000, &[]), false);
    scene.stands(3, at(2, 0x2000, &[2]), false);
    assert_eq!(scene.elects(), Some((name(3), StartKind::Promotion)));
}

#[test]
fn a_promotion_without_its_row_is_finished_by_its_own_member_only() {
    let mut scene = Scene::new();
    scene.local.data = Data::Missing;
    scene.promote_n3(false);
    scene.revoke(expired());
    scene.stands(3, at(2, 0x1060, &[]), false);
    assert_eq!(scene.elects(), Some((name(3), StartKind::Promotion)));
    scene.peers.clear();
    scene.stands(2, at(2, 0x1060, &[]), false);
    assert_eq!(scene.elects(), None);
}

#[test]
fn an_operator_may_name_data_that_left_the_line_where_he_accepts_the_loss() {
    for allow_data_loss in [false, true] {
        let mut scene = Scene::new();
        scene.local.data = Data::Missing;
        scene.promote_n3(true);
        scene.revoke(Cause::OperatorFailover {
            target: name(2),
            allow_data_loss,
        });
        scene.stands(2, at(1, 0x1400, &[]), false);
        let expected = allow_data_loss.then(|| (name(2), StartKind::Promotion));
        assert_eq!(scene.elects(), expected);
    }
}

#[test]
fn a_refused_target_does_not_keep_the_cluster_without_a_primary() {
    let mut scene = Scene::new();
    scene.local.data = Data::Missing;
    let order = Cause::OperatorFailover {
        target: name(3),
        allow_data_loss: false,
    };
    scene.state.settings.max_lag_on_failover = 0;
    scene.revoke(order);
    scene.stands(3, at(1, 0x500, &[]), false);
    scene.stands(2, at(1, 0x1000, &[]), true);
    assert_eq!(scene.elects(), Some((name(2), StartKind::Restart)));
}

/// The fenced primary reports first: it has nothing to stop.
#[test]
fn who_prefers_a_replica_waits_longer_for_one_but_not_for_ever() {
    let mut scene = Scene::new();
    scene.local.data = Data::Missing;
    scene.state.settings.on_primary_crash = OnPrimaryCrash::Failover;
    scene.revoke(expired());
    scene.stands(2, at(1, 0x1000, &[]), true);
    scene.hears(report_of(3));
    scene.since.phase = NOW - Duration::from_secs(1);
    assert_eq!(scene.elects(), None);
    scene.since.phase = NOW - Duration::from_secs(10);
    assert_eq!(scene.elects(), Some((name(2), StartKind::Restart)));
    scene.since.phase = NOW - Duration::from_secs(1);
    scene.stands(3, at(1, 0x1000, &[]), false);
    assert_eq!(scene.elects(), Some((name(3), StartKind::Promotion)));
}

/// All nodes lost power, and who comes back remembers nothing of the primary's renewals (P3).
#[test]
fn an_unknown_loss_is_not_taken_for_none() {
    let mut scene = Scene::new();
    scene.local.data = Data::Missing;
    scene.revoke(expired());
    scene.stands(3, at(1, 0x1000, &[]), false);
    assert_eq!(scene.elects(), None);
    let (reason, text) = scene.decide().why.cluster.expect("says why");
    assert_eq!(reason, Reason::LagTooHigh);
    assert!(
        text.contains("start n2") && text.contains("--allow-data-loss"),
        "{text}"
    );
    // The old primary is there again, in a process that does not know that it was.
    scene.stands(2, at(1, 0x1008, &[]), false);
    assert_eq!(scene.elects(), Some((name(2), StartKind::Promotion)));
    // Or a quorum remembers. One voter may have heard of it last long before it ended.
    scene.peers.remove(&name(2));
    let mut told = scene.peers[&name(3)].report.clone();
    told.grant.epoch = Epoch(1);
    told.grant.flush_lsn = Some(Lsn(0x1000));
    told.grant.remembers = true;
    scene.hears(told);
    assert_eq!(scene.elects(), None, "one is no quorum");
    scene.was_told(1, 0x900);
    assert_eq!(scene.elects(), Some((name(3), StartKind::Promotion)));
}

/// Its gate may have opened and the log not know it: only a quorum that never granted it says that it
/// wrote nothing.
#[test]
fn who_may_have_served_unseen_is_not_taken_for_one_that_never_did() {
    let mut scene = Scene::new();
    scene.promote_n3(false);
    scene.revoke(expired());
    scene.settled(at(1, 0x1000, &[]));
    scene.hears(report_of(2));
    assert_eq!(scene.elects(), None);
    let mut knows = report_of(2);
    knows.grant.epoch = Epoch(2);
    knows.grant.remembers = true;
    scene.hears(knows);
    scene.local.grant.epoch = Epoch(2);
    assert_eq!(scene.elects(), None, "one is no quorum");
    scene.local.grant.remembers = true;
    assert_eq!(scene.elects(), Some((name(1), StartKind::Promotion)));
}

/// Each that fails before it opens would cost the limit once more (P3).
#[test]
fn the_limit_does_not_count_anew_from_one_that_never_opened() {
    for (known_end, expected) in [
        (0x0FF0, Some((name(1), StartKind::Promotion))),
        (0x1000, None),
    ] {
        let mut scene = Scene::new();
        scene.state.settings.max_lag_on_failover = 0x10;
        scene.revoke(expired());
        let Command::Primary(mut second) = primary(2, 3, StartKind::Promotion, 2, 1, 0x0FF0) else {
            panic!("another command")
        };
        second.known_end = Lsn(known_end);
        scene.apply(Command::Primary(second));
        scene.revoke(expired());
        scene.was_told(2, 0);
        let mut other = report_of(2);
        other.adopted = scene.state.epoch;
        other.grant.epoch = Epoch(2);
        other.grant.remembers = true;
        scene.hears(other);
        scene.settled(at(1, 0x0FE0, &[]));
        assert_eq!(scene.elects(), expected, "{known_end:#x}");
    }
}

/// Unless an operator gave up what is missing: he would be asked again and again.
#[test]
fn the_entry_carries_what_its_primary_was_chosen_by() {
    let ordered = Cause::OperatorFailover {
        target: name(3),
        allow_data_loss: true,
    };
    for (cause, known_end) in [(expired(), 0x1000), (ordered, 0x0FF8)] {
        let mut scene = Scene::new();
        scene.local.data = Data::Missing;
        scene.revoke(cause);
        scene.stands(3, at(1, 0x0FF8, &[]), false);
        let peer = scene.peers.get_mut(&name(3)).expect("heard");
        peer.report.grant.epoch = Epoch(1);
        peer.report.grant.remembers = true;
        scene.was_told(1, 0x1000);
        let named = scene.names().map(|primary| primary.known_end);
        assert_eq!(named, Some(Lsn(known_end)));
    }
}

/// What a voter still grants it is told of as well.
#[test]
fn a_voter_that_has_not_adopted_the_epoch_is_waited_for() {
    let mut scene = Scene::new();
    scene.revoke(expired());
    scene.since.phase = NOW - Duration::from_millis(100);
    scene.settled(at(1, 0x1000, &[]));
    scene.was_told(1, 0x1000);
    let member = scene.state.members.get_mut(&name(3)).expect("a member");
    member.kind = MemberKind::Witness;
    let mut witness = report_of(3);
    witness.adopted = Epoch(1);
    scene.hears(witness.clone());
    assert_eq!(scene.elects(), None);
    let told = scene.decide().why.cluster.expect("says why");
    assert_eq!(told.0, Reason::NoPrimary, "{told:?}");
    witness.adopted = scene.state.epoch;
    witness.grant.epoch = Epoch(1);
    witness.grant.remembers = true;
    scene.hears(witness);
    assert_eq!(scene.elects(), Some((name(1), StartKind::Promotion)));
}

/// Nobody who would know how far the primary came is left, and an operator said to go on.
#[test]
fn the_survivor_of_a_lost_quorum_is_taken_whatever_it_lacks() {
    for end in [0x1000, 0x100] {
        let mut scene = Scene::new();
        scene.local.data = Data::Missing;
        let (generation, epoch) = (scene.state.generation, scene.state.epoch);
        scene.apply(Command::Recover(Recover {
            generation: generation.next(),
            epoch: epoch.next(),
            survivor: name(3),
            told: Some(Lsn(0x1000)),
            at: String::new(),
        }));
        scene.since.phase = NOW - Duration::from_secs(10);
        assert_eq!(scene.elects(), None, "it has not reported");
        scene.stands(3, at(1, end, &[]), false);
        assert_eq!(scene.elects(), Some((name(3), StartKind::Promotion)));
        // What the process before the recovery was told is journaled.
        let lost = scene.names().and_then(|primary| primary.lost);
        let expected = LostRange {
            from: Lsn(end),
            to: Lsn(0x1000),
            is_final: false,
        };
        assert_eq!(lost, (end < 0x1000).then_some(expected));
    }
}

/// What the old primary says as it comes back makes the loss known, before its data can be asked for.
#[test]
fn who_has_just_come_back_is_waited_for_by_those_who_lack_something() {
    for (end, away, expected) in [
        (0x0FF8, Duration::from_millis(100), None),
        (0x0FF8, Duration::from_secs(2), Some(3)),
        (0x1000, Duration::from_millis(100), Some(3)),
    ] {
        let mut scene = Scene::new();
        scene.local.data = Data::Missing;
        scene.revoke(expired());
        scene.stands(3, at(1, end, &[]), false);
        let mut told = report_of(2);
        told.grant.epoch = Epoch(1);
        told.grant.flush_lsn = Some(Lsn(0x1000));
        told.grant.remembers = true;
        scene.was_told(1, 0x900);
        scene.hears(told);
        let returned = scene.peers.get_mut(&name(2)).expect("heard");
        returned.since = NOW - away;
        let expected = expected.map(|who| (name(who), StartKind::Promotion));
        assert_eq!(scene.elects(), expected, "{end:#x} {away:?}");
    }
}

/// It has the most WAL, and crashes while it starts.
#[test]
fn a_primary_whose_restart_failed_comes_after_a_replica_within_the_limit() {
    for (end, expected) in [
        (0x0FF8, (name(3), StartKind::Promotion)),
        (0x0100, (name(2), StartKind::Restart)),
    ] {
        let mut scene = Scene::new();
        scene.local.data = Data::Missing;
        scene.state.settings.max_lag_on_failover = 0x100;
        scene.revoke(expired());
        let epoch = scene.state.epoch.0;
        scene.apply(primary(epoch, 2, StartKind::Restart, 1, 1, 0x1000));
        scene.revoke(expired());
        scene.stands(2, at(1, 0x1000, &[]), true);
        scene.stands(3, at(1, end, &[]), false);
        assert_eq!(scene.elects(), Some(expected), "{end:#x}");
    }
}

/// Its disk is full, and the replicas lack too much. An epoch for each of two starts a second would push
/// everything out of the journal within minutes.
#[test]
fn who_fails_to_start_again_and_again_is_tried_ever_more_seldom() {
    let mut scene = Scene::new();
    scene.local.data = Data::Missing;
    scene.state.settings.max_lag_on_failover = 0x100;
    let restart = || Some((name(2), StartKind::Restart));
    let mut rests = Vec::new();
    for _ in 0..5 {
        scene.revoke(expired());
        scene.stands(2, at(1, 0x1000, &[]), true);
        scene.stands(3, at(1, 0x0100, &[]), false);
        // By then everybody has been waited for.
        let rest = (1..60)
            .find(|seconds| {
                scene.since.phase = NOW - Duration::from_secs(*seconds);
                scene.elects().is_some()
            })
            .expect("an election");
        assert_eq!(scene.elects(), restart());
        rests.push(rest);
        let epoch = scene.state.epoch.0;
        scene.apply(primary(epoch, 2, StartKind::Restart, 1, 1, 0x1000));
    }
    assert_eq!(rests, [1, 1, 1, 2, 4]);

    // An operator who says so does not wait, and neither does who can replace it.
    scene.revoke(expired());
    scene.stands(2, at(1, 0x1000, &[]), true);
    scene.stands(3, at(1, 0x0FF8, &[]), false);
    scene.since.phase = NOW - Duration::from_secs(1);
    assert_eq!(scene.elects(), Some((name(3), StartKind::Promotion)));
}

/// Who was promoted by hand is on a timeline of its own also while it is stopped: a twin of that number
/// would be taken for it by `pg_rewind`.
#[test]
fn the_timeline_of_stopped_data_is_not_assigned() {
    let mut scene = Scene::new();
    scene.settled(at(2, 0x1000, &[]));
    scene.local.tree = Tree::Empty;
    scene.local.probe = None;
    scene.local.data = Data::Unfinished;
    assert_eq!(scene.tells().timeline, Some(TimelineId(2)));
    scene.revoke(expired());
    scene.since.phase = NOW - Duration::from_secs(60);
    scene.stands(3, at(1, 0x1000, &[]), false);
    let peer = scene.peers.get_mut(&name(3)).expect("heard");
    peer.report.grant.epoch = Epoch(1);
    peer.report.grant.remembers = true;
    scene.was_told(1, 0x1000);
    let assigned = scene.names().map(|primary| primary.timeline);
    assert_eq!(assigned, Some(TimelineId(3)));
}
