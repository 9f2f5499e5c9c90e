//! Under another primary: attached, rewound, cloned, or left alone.

use std::time::Duration;

use super::entries::name;
use super::scene::{NOW, Scene};
use super::views::{at, begins, cluster, report_of, serving_primary};
use crate::command::Command;
use crate::decide::*;
use crate::journal::LostRange;
use crate::report::SlotReport;
use crate::{Epoch, Lsn, Nonce};

/// n3 serves on timeline 2, has checkpointed there, and is heard.
fn n3_serves(scene: &mut Scene) {
    let mut serving = report_of(3);
    serving.gate_open = Some(scene.state.epoch);
    serving.checkpointed = Some(TimelineId(2));
    scene.hears(serving);
    scene.raft.leads = false;
}

fn diverged() -> Scene {
    let mut scene = Scene::new();
    scene.promote_n3(true);
    scene.settled(at(1, 0x1200, &[]));
    n3_serves(&mut scene);
    scene
}

#[test]
fn a_tail_is_told_and_kept_until_it_is_in_the_journal() {
    let mut scene = diverged();
    let waits = scene.decide();
    assert_eq!(waits.actions, []);
    let range = LostRange {
        from: Lsn(0x1000),
        to: Lsn(0x1200),
        is_final: true,
    };
    assert_eq!(scene.tells().lost, Some((Epoch(2), range)));
    scene.apply(Command::Lost {
        epoch: Epoch(2),
        range,
        by: name(1),
    });
    assert_eq!(scene.decide().actions, [Action::Stop(StopMode::Fast)]);
    scene.local.tree = Tree::Empty;
    let rewind = JobKind::Rewind {
        from: name(3),
        epoch: Epoch(2),
    };
    assert_eq!(begins(&scene.decide()), [rewind]);
}

/// As far as its server may have said that it had flushed.
#[test]
fn a_tail_is_told_to_the_end_of_its_page() {
    let mut scene = diverged();
    scene.local.wal_page_bytes = 0x2000;
    let told = |scene: &Scene| scene.tells().lost.map(|(_, range)| (range.from, range.to));
    assert_eq!(told(&scene), Some((Lsn(0x1000), Lsn(0x2000))));
    scene.settled(at(1, 0x2000, &[]));
    assert_eq!(told(&scene), Some((Lsn(0x1000), Lsn(0x2000))));
    scene.settled(at(1, u64::MAX, &[]));
    assert_eq!(told(&scene), Some((Lsn(0x1000), Lsn(u64::MAX))));
    scene.settled(at(1, 0x1000, &[]));
    assert_eq!(told(&scene), None, "nothing was beyond");
    scene.local.gone = Some((TimelineId(1), Lsn(0x2008)));
    assert_eq!(told(&scene), Some((Lsn(0x1000), Lsn(0x4000))));
}

/// Nobody can read it in the directory any more, and the clone says nothing of it.
#[test]
fn the_tail_of_removed_data_is_told_also_once_it_was_cloned_anew() {
    let mut scene = diverged();
    scene.local.settled = None;
    scene.local.tree = Tree::Empty;
    scene.local.data = Data::Missing;
    assert_eq!(scene.tells().lost, None, "nothing was held");
    scene.local.gone = Some((TimelineId(1), Lsn(0x1000)));
    assert_eq!(scene.tells().lost, None, "nothing was beyond");
    scene.local.gone = Some((TimelineId(1), Lsn(0x1200)));
    let range = LostRange {
        from: Lsn(0x1000),
        to: Lsn(0x1200),
        is_final: true,
    };
    let lost = Some((Epoch(2), range));
    assert_eq!(scene.tells().lost, lost);
    scene.local.data = Data::Cluster(cluster());
    scene.local.settled = Some(at(2, 0x1300, &[]));
    assert_eq!(scene.tells().lost, lost);
    scene.apply(Command::Lost {
        epoch: Epoch(2),
        range,
        by: name(1),
    });
    assert_eq!(scene.tells().lost, None, "it is in the journal");
}

/// Its files tell where its WAL ends, and it is cloned once the journal has that.
#[test]
fn the_tail_of_data_that_does_not_start_is_told_before_it_is_replaced() {
    let mut scene = diverged();
    scene.local.settled = None;
    scene.local.tree = Tree::Empty;
    scene.local.finds_end(TimelineId(1), Lsn(0x1200));
    assert_eq!(scene.local.gone, None, "it may start, and tell itself");
    for _ in 0..3 {
        scene.local.start_failed("it ended".to_owned(), NOW);
    }
    scene.local.finds_end(TimelineId(1), Lsn(0x1200));
    scene.local.finds_end(TimelineId(1), Lsn(0x1000));
    assert_eq!(scene.decide().actions, []);
    let (epoch, range) = scene.tells().lost.expect("a tail");
    assert_eq!(range.to, Lsn(0x1200));
    scene.apply(Command::Lost {
        epoch,
        range,
        by: name(1),
    });
    let clone = JobKind::Clone {
        from: name(3),
        epoch: Epoch(2),
    };
    assert_eq!(begins(&scene.decide()), [clone]);
}

/// Another member's tail, on a timeline that was left at the same point, may be in the journal already.
#[test]
fn a_longer_tail_than_the_journals_is_told_as_well() {
    let mut scene = diverged();
    let lost = |to: u64| Command::Lost {
        epoch: Epoch(2),
        range: LostRange {
            from: Lsn(0x1000),
            to: Lsn(to),
            is_final: true,
        },
        by: name(1),
    };
    scene.apply(lost(0x1100));
    assert_eq!(scene.decide().actions, [], "its own tail is not there yet");
    scene.raft.leads = true;
    let proposed = scene.decide().actions;
    assert_eq!(proposed, [Action::Propose(Box::new(lost(0x1200)))]);
    scene.apply(lost(0x1200));
    scene.raft.leads = false;
    assert_eq!(scene.decide().actions, [Action::Stop(StopMode::Fast)]);
    // A shorter one takes nothing away.
    scene.apply(lost(0x1100));
    let journaled = scene.state.journal.last().unwrap().lost.unwrap();
    assert_eq!(journaled.to, Lsn(0x1200));
}

/// A twin's rows are nobody's to read, with a quorum or without.
#[test]
fn what_left_the_line_is_not_shown_for_want_of_a_quorum() {
    let mut scene = diverged();
    scene.raft.quorum = false;
    assert_eq!(scene.decide().why.reason, Some(Reason::Diverged));
    scene.local.settled = Some(at(1, 0x1000, &[]));
    assert_eq!(scene.decide().why.reason, Some(Reason::NoQuorum));
}

#[test]
fn no_data_is_touched_for_a_primary_that_is_not_heard() {
    for data in [Data::Cluster(cluster()), Data::Unfinished, Data::Missing] {
        let mut scene = diverged();
        scene.apply(Command::Lost {
            epoch: Epoch(2),
            range: LostRange {
                from: Lsn(0x1000),
                to: Lsn(0x1200),
                is_final: true,
            },
            by: name(1),
        });
        scene.local.tree = Tree::Empty;
        scene.local.data = data;
        assert_eq!(begins(&scene.decide()).len(), 1);
        scene.peers.get_mut(&name(3)).expect("heard").at = NOW - Duration::from_millis(800);
        assert_eq!(begins(&scene.decide()), []);
    }
}

#[test]
fn a_replica_behind_what_its_slot_keeps_is_cloned_once_following_was_tried() {
    let mut scene = Scene::new();
    scene.promote_n3(true);
    scene.settled(at(2, 0x1500, &[2]));
    n3_serves(&mut scene);
    let slot = SlotReport {
        name: slot_name(TimelineId(2), &name(1)),
        restart_lsn: Some(Lsn(0x1600)),
        lost: false,
    };
    scene.peers.get_mut(&name(3)).expect("heard").report.slots = vec![slot];
    scene.since.phase = NOW - Duration::from_secs(1);
    assert!(matches!(scene.decide().actions[..], [Action::Follow(_)]));
    scene.since.phase = NOW - Duration::from_secs(31);
    assert_eq!(scene.decide().actions, [Action::Stop(StopMode::Fast)]);
    scene.local.tree = Tree::Empty;
    assert!(matches!(
        begins(&scene.decide())[..],
        [JobKind::Clone { .. }]
    ));
}

#[test]
fn an_earlier_life_of_this_member_is_not_followed() {
    let mut scene = Scene::new();
    scene.me.name = name(2);
    scene.me.nonce = Nonce(20);
    scene.raft.leads = false;
    scene.settled(at(1, 0x1000, &[]));
    assert_eq!(scene.decide().actions, []);
    scene.local.data = Data::Missing;
    scene.local.tree = Tree::Empty;
    assert_eq!(scene.decide().actions, []);
}

/// n1 streams from n2.
fn streaming() -> Scene {
    let mut scene = Scene::new();
    scene.raft.leads = false;
    scene.local.tree = Tree::Standby {
        since: NOW,
        pinned: None,
    };
    scene.local.upstream = Some(Upstream {
        node: name(2),
        epoch: Epoch(1),
        slot: slot_name(TimelineId(1), &name(1)),
        address: scene.state.members[&name(2)].addresses.postgres.clone(),
    });
    scene.local.probe = Some(Probe {
        in_recovery: true,
        ..Probe::default()
    });
    scene
}

/// Nobody reads them again, and each keeps WAL until the disk is full.
#[test]
fn a_replica_drops_the_slots_of_the_time_when_it_was_primary() {
    let mut scene = streaming();
    assert_eq!(scene.decide().actions, []);
    let probe = scene.local.probe.as_mut().expect("it answers");
    probe.slots = vec![SlotReport {
        name: slot_name(TimelineId(1), &name(3)),
        restart_lsn: None,
        lost: false,
    }];
    assert_eq!(scene.decide().actions, [Action::KeepSlots(Vec::new())]);
}

/// Whoever still takes it for the primary would attach, and go over to that timeline too.
#[test]
fn nobody_attaches_to_what_was_promoted_by_hand() {
    for (timeline, dropped) in [(1, false), (2, true)] {
        let mut scene = Scene::new();
        scene.me.name = name(2);
        scene.me.nonce = Nonce(20);
        scene.raft.leads = false;
        scene.settled(at(timeline, 0x1000, &[]));
        let probe = scene.local.probe.get_or_insert_default();
        probe.slots = vec![SlotReport {
            name: slot_name(TimelineId(1), &name(1)),
            restart_lsn: None,
            lost: false,
        }];
        let drops = scene.decide().actions == [Action::KeepSlots(Vec::new())];
        assert_eq!(drops, dropped, "on timeline {timeline}");
    }
}

/// PostgreSQL pauses the replay, and goes on only where it is started anew with higher settings.
#[test]
fn a_replica_whose_settings_are_too_low_for_the_primary_is_restarted() {
    let mut scene = streaming();
    let probe = scene.local.probe.as_mut().expect("it answers");
    probe.replay_paused = true;
    probe.restart_pending = vec!["work_mem".to_owned()];
    assert_eq!(scene.decide().actions, [], "somebody paused it");
    let probe = scene.local.probe.as_mut().expect("it answers");
    probe.restart_pending = vec!["max_connections".to_owned()];
    let decision = scene.decide();
    assert_eq!(decision.actions, [Action::Stop(StopMode::Fast)]);
    assert_eq!(decision.why.reason, Some(Reason::SettingsTooLow));
}

#[test]
fn a_replica_whose_primary_went_with_the_quorum_serves_reads() {
    let mut scene = streaming();
    scene.raft.quorum = false;
    assert_eq!(scene.decide().why.state, MemberState::Streaming);
    for seconds in [1, 60] {
        scene.local.detached_since = Some(NOW - Duration::from_secs(seconds));
        let decision = scene.decide();
        let why = (decision.why.role, decision.why.state, decision.why.reason);
        let expected = (Role::Replica, MemberState::Fenced, Some(Reason::NoQuorum));
        assert_eq!(why, expected);
        assert_eq!(decision.actions, []);
    }
    scene.local.probe = None;
    assert_eq!(scene.decide().why.reason, Some(Reason::NotStreaming));
}

#[test]
fn rewound_data_that_never_gets_consistent_is_cloned() {
    let mut scene = Scene::new();
    scene.hears(serving_primary());
    scene.local.rewound = Some(Epoch(1));
    scene.local.tree = Tree::Standby {
        since: NOW,
        pinned: None,
    };
    scene.local.upstream = Some(Upstream {
        node: name(2),
        epoch: Epoch(1),
        slot: "pgha_t1_n1".to_owned(),
        address: String::new(),
    });
    scene.local.detached_since = Some(NOW - Duration::from_secs(60));
    assert_eq!(begins(&scene.decide()), [JobKind::Settle]);
    scene.local.failed = Some(JobFailure {
        kind: JobKind::Settle,
        at: NOW,
        count: 3,
        detail: "no answer".to_owned(),
    });
    let decision = scene.decide();
    assert!(
        decision
            .actions
            .contains(&Action::Stop(StopMode::Immediate))
    );
    scene.local.ends();
    scene.local.finds(Data::Cluster(cluster()));
    assert!(matches!(
        begins(&scene.decide())[..],
        [JobKind::Clone { .. }]
    ));
}

/// A setting that PostgreSQL does not start with: each copy more would take the place of what was moved
/// aside for the one before, in the end of the data that the member came with (P8).
#[test]
fn a_copy_on_which_postgresql_does_not_start_is_not_copied_again() {
    let mut scene = Scene::new();
    scene.hears(serving_primary());
    scene.local.tree = Tree::Empty;
    let mut copied = |never_replayed, failures| {
        scene.local.finds(Data::Cluster(DataCluster {
            never_replayed,
            ..cluster()
        }));
        scene.local.start_failures.count = failures;
        scene.local.start_failures.at = NOW - Duration::from_secs(31);
        scene.decide()
    };
    assert!(matches!(
        begins(&copied(false, 3))[..],
        [JobKind::Clone { .. }]
    ));
    for failures in [3, 30] {
        let decision = copied(true, failures);
        assert_eq!(decision.actions, [Action::StartStandby { pinned: None }]);
        assert_eq!(decision.why.state, MemberState::Failed);
        assert_eq!(decision.why.reason, Some(Reason::StartFailed));
    }
}

/// Whoever asks for a change of primary is to know whose copy it would break off.
#[test]
fn whose_data_is_being_copied_is_told() {
    let mut scene = Scene::new();
    let source = |scene: &Scene| scene.tells().clones_from;
    assert_eq!(source(&scene), None);
    let (from, epoch) = (name(3), Epoch(1));
    scene.local.begins(JobKind::Clone { from, epoch }, NOW);
    assert_eq!(source(&scene), Some(name(3)));
}

/// Without its upstream it would wait for the rest of its WAL for ever.
#[test]
fn a_started_sidecar_attaches_what_an_earlier_one_rewound() {
    let mut scene = Scene::new();
    scene.hears(serving_primary());
    scene.local.tree = Tree::Empty;
    let rewound_to = |epoch: u64| {
        Data::Cluster(DataCluster {
            rewound: Some(Epoch(epoch)),
            ..cluster()
        })
    };
    scene.local.finds(rewound_to(1));
    assert!(matches!(
        scene.decide().actions[..],
        [Action::StartAttached(_)]
    ));
    // Whether that is still the primary only a quorum knows, and without an upstream it would not
    // get consistent.
    scene.raft.quorum = false;
    let alone = scene.decide();
    assert_eq!(alone.actions, []);
    assert_eq!(alone.why.state, MemberState::Stopped);
    assert_eq!(alone.why.reason, Some(Reason::NoQuorum));
    scene.raft.quorum = true;
    // Where the primary is another one by now, nobody knows where it goes on.
    scene.local.finds(rewound_to(0));
    assert!(matches!(
        begins(&scene.decide())[..],
        [JobKind::Clone { .. }]
    ));
    // What was looked into before it answered says nothing any more.
    scene.local.starts(Tree::Standby {
        since: NOW,
        pinned: None,
    });
    scene.local.answers(Probe::default());
    scene.local.finds(rewound_to(1));
    assert_eq!(scene.local.rewound, None);
}
