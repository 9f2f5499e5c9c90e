//! On the way to primary, and as one.

use super::entries::{name, primary};
use super::scene::{NOW, Scene};
use super::views::{at, cluster, expired, held};
use crate::decide::*;
use crate::lease::Hold;
use crate::report::SlotReport;
use crate::{Epoch, Nonce, StartKind};

/// n2 is primary and serves, with these slots.
fn serving_with(slots: Vec<SlotReport>) -> Scene {
    let mut scene = Scene::new();
    scene.me.name = name(2);
    scene.me.nonce = Nonce(2);
    scene.raft.leads = false;
    scene.local.lease = held(1);
    scene.local.gate_open = Some(Epoch(1));
    scene.local.tree = Tree::Primary {
        epoch: Epoch(1),
        since: NOW,
    };
    scene.local.probe = Some(Probe {
        timeline: TimelineId(1),
        checkpointed: Some(TimelineId(1)),
        slots,
        ..Probe::default()
    });
    scene
}

fn slot(member: &MemberName, lost: bool) -> SlotReport {
    SlotReport {
        name: slot_name(TimelineId(1), member),
        restart_lsn: None,
        lost,
    }
}

/// Names and the names of their slots may be in another order; asked again and again, PostgreSQL would
/// log an error each time.
#[test]
fn slots_that_are_there_are_not_made_again() {
    let (short, long) = (MemberName::from("db1.x"), MemberName::from("db10.x"));
    let mut scene = serving_with(vec![slot(&short, false), slot(&long, false)]);
    for (old, new) in [(1, &short), (3, &long)] {
        let member = scene.state.members.remove(&name(old)).expect("a member");
        scene.state.members.insert(new.clone(), member);
    }
    assert_eq!(scene.decide().actions, []);
}

#[test]
fn a_lost_slot_is_dropped_before_it_is_made_anew() {
    let scene = serving_with(vec![slot(&name(1), true), slot(&name(3), false)]);
    let good = vec![slot_name(TimelineId(1), &name(3))];
    assert_eq!(scene.decide().actions, [Action::KeepSlots(good)]);
}

/// The others were stopped with it: at the lease's end PostgreSQL would be stopped in the middle of its work.
#[test]
fn whoever_is_asked_to_stop_and_is_renewed_by_nobody_stops_cleanly_in_time() {
    let mut scene = serving_with(vec![slot(&name(1), false), slot(&name(3), false)]);
    let renewed = |scene: &mut Scene, ms| {
        let timing = scene.state.settings.lease();
        let sent = Mono::from_millis(NOW.as_nanos() / 1_000_000 - ms);
        scene.local.lease.hold = Hold::Held(timing.deadlines(sent));
    };
    renewed(&mut scene, 600);
    assert_eq!(scene.decide().actions, [], "nobody asked for it");
    scene.local.shutting_down = true;
    renewed(&mut scene, 374);
    assert_eq!(scene.decide().actions, [], "somebody may take over yet");
    renewed(&mut scene, 375);
    let stops = [Action::DrainGate(Epoch(1)), Action::Stop(StopMode::Fast)];
    assert_eq!(scene.decide().actions, stops);
    // An order to stop cannot be taken back.
    scene.local.stopping = Some((StopMode::Fast, NOW));
    renewed(&mut scene, 0);
    assert_eq!(scene.decide().actions, stops);
}

#[test]
fn a_member_promoted_by_hand_before_its_lease_gives_the_epoch_up() {
    let mut scene = Scene::new();
    scene.revoke(expired());
    scene.apply(primary(2, 1, StartKind::Promotion, 2, 1, 0x1000));
    scene.local.lease = held(2);
    scene.settled(at(1, 0x1000, &[]));
    scene.raft.leads = false;
    assert_eq!(scene.decide().actions, [Action::Assume(Epoch(2))]);
    // It has less after a restart where a record had not come to its end.
    scene.settled(at(1, 0xFF0, &[]));
    assert_eq!(scene.decide().actions, [Action::Assume(Epoch(2))]);
    for position in [at(2, 0x1060, &[]), at(1, 0x1008, &[])] {
        scene.settled(position);
        assert_eq!(scene.decide().actions, [Action::Stop(StopMode::Fast)]);
        scene.local.tree = Tree::Empty;
        let actions = scene.decide().actions;
        assert!(
            matches!(actions[..], [Action::DropLease, Action::Release { .. }]),
            "{actions:?}"
        );
    }
}

#[test]
fn a_promotion_waits_until_it_is_known_whether_the_data_has_to_be_pinned() {
    let mut scene = Scene::new();
    scene.revoke(expired());
    scene.apply(primary(2, 1, StartKind::Promotion, 2, 1, 0x1000));
    scene.raft.leads = false;
    let ahead = Data::Cluster(DataCluster {
        history_ahead: true,
        ..cluster()
    });
    for lease in [LeaseView::default(), held(2)] {
        scene.settled(at(1, 0x1000, &[]));
        scene.local.tree = Tree::Empty;
        scene.local.lease = LeaseView {
            epoch: Epoch(2),
            ..lease
        };
        if lease.epoch != Epoch(2) {
            scene.local.lease.hold = Hold::Collecting;
        }
        scene.local.data = Data::Unknown;
        assert_eq!(scene.decide().actions, []);
        scene.local.data = ahead.clone();
        let pinned = Some(TimelineId(1));
        assert_eq!(scene.decide().actions, [Action::StartStandby { pinned }]);
    }
    scene.settled(at(1, 0x1000, &[]));
    scene.local.data = Data::Unknown;
    assert_eq!(scene.decide().actions, []);
    scene.local.data = ahead;
    assert_eq!(scene.decide().actions, [Action::Stop(StopMode::Fast)]);
}

/// A full disk, or an order that the guard refused: without this the lease is renewed for ever.
#[test]
fn an_epoch_whose_start_came_to_nothing_is_not_renewed() {
    let mut scene = Scene::new();
    scene.revoke(expired());
    scene.apply(primary(2, 2, StartKind::Restart, 1, 1, 0x1000));
    scene.me.name = name(2);
    scene.me.nonce = Nonce(2);
    scene.raft.leads = false;
    scene.local.lease = held(2);
    scene.local.tree = Tree::Empty;
    let epoch = Epoch(2);
    assert_eq!(scene.decide().actions, [Action::StartPrimary(epoch)]);
    scene.local.starts(Tree::Primary { epoch, since: NOW });
    scene
        .local
        .start_failed("no space left on device".to_owned(), NOW);
    scene.local.ends();
    scene.local.finds(Data::Cluster(cluster()));
    assert_eq!(scene.decide().actions, [Action::DropLease]);
}

/// Nobody else may have it then, but nobody has given it yet either (P6).
#[test]
fn nothing_is_started_nor_promoted_while_the_lease_is_being_collected() {
    let mut started = Scene::new();
    started.me.name = name(2);
    started.me.nonce = Nonce(2);
    started.raft.leads = false;
    started.local.tree = Tree::Empty;
    let mut promoted = Scene::new();
    promoted.revoke(expired());
    promoted.apply(primary(2, 1, StartKind::Promotion, 2, 1, 0x1000));
    promoted.settled(at(1, 0x1000, &[]));
    promoted.raft.leads = false;
    for (mut scene, epoch) in [(started, 1), (promoted, 2)] {
        scene.local.lease = held(epoch);
        let with_lease = scene.decide().actions;
        assert!(
            matches!(
                with_lease[..],
                [Action::StartPrimary(_) | Action::Assume(_)]
            ),
            "{with_lease:?}"
        );
        scene.local.lease.hold = Hold::Collecting;
        scene.local.lease.deadlines = None;
        let actions = scene.decide().actions;
        assert_eq!(actions, [], "epoch {epoch}");
    }
}
