//! While the data is being replaced: no start, no standing, whatever happens to the cluster.

use super::entries::{name, primary};
use super::scene::{NOW, Scene};
use super::views::{at, begins, cluster, expired, held, report_of};
use crate::decide::*;
use crate::journal::LostRange;
use crate::report::SlotReport;
use crate::{Epoch, Lsn, Nonce, StartKind};

/// n3 serves on timeline 2, has checkpointed there, and is heard.
fn behind_n3() -> Scene {
    let mut scene = Scene::new();
    scene.promote_n3(true);
    let mut serving = report_of(3);
    serving.gate_open = Some(scene.state.epoch);
    serving.checkpointed = Some(TimelineId(2));
    scene.hears(serving);
    scene.raft.leads = false;
    scene.local.tree = Tree::Empty;
    scene
}

fn begin_what_is_decided(scene: &mut Scene) -> JobKind {
    let kind = begins(&scene.decide()).pop().expect("a job");
    scene.local.begins(kind.clone(), NOW);
    kind
}

fn rewinding() -> Scene {
    let mut scene = behind_n3();
    scene.local.settled = Some(at(1, 0x2000, &[]));
    if let Some(entry) = scene.state.journal.last_mut() {
        entry.lost = Some(LostRange {
            from: Lsn(0x1000),
            to: Lsn(0x2000),
            is_final: true,
        });
    }
    let kind = begin_what_is_decided(&mut scene);
    assert!(matches!(kind, JobKind::Rewind { .. }), "{kind:?}");
    scene
}

fn cloning() -> Scene {
    let mut scene = behind_n3();
    scene.settled(at(2, 0x1500, &[2]));
    scene.local.tree = Tree::Empty;
    let slot = SlotReport {
        name: slot_name(TimelineId(2), &name(1)),
        restart_lsn: Some(Lsn(0x1600)),
        lost: true,
    };
    scene.peers.get_mut(&name(3)).expect("heard").report.slots = vec![slot];
    let kind = begin_what_is_decided(&mut scene);
    assert!(matches!(kind, JobKind::Clone { .. }), "{kind:?}");
    scene
}

fn initializing() -> Scene {
    let mut scene = behind_n3();
    scene.local.data = Data::Missing;
    scene.local.begins(JobKind::Initialize, NOW);
    scene
}

fn with_every_job() -> [Scene; 3] {
    [rewinding(), cloning(), initializing()]
}

fn starts(decision: &Decision) -> bool {
    decision.actions.iter().any(|action| {
        matches!(
            action,
            Action::StartStandby { .. } | Action::StartAttached(_) | Action::StartPrimary(_)
        )
    })
}

/// Everything that may happen to the cluster meanwhile.
const CHANGES: [fn(&mut Scene); 5] = [
    |_| {},
    |scene| scene.revoke(expired()),
    |scene| scene.raft.quorum = false,
    |scene| primary_next(scene, 2),
    |scene| primary_next(scene, 1),
];

/// A new epoch, whose lease this member holds where it is the primary's.
fn primary_next(scene: &mut Scene, who: u64) {
    scene.revoke(expired());
    let epoch = scene.state.epoch.0;
    scene.apply(primary(epoch, who, StartKind::Promotion, 3, 2, 0x3000));
    scene.local.lease = held(epoch);
}

#[test]
fn nothing_is_started_on_data_that_is_being_replaced() {
    for (number, change) in CHANGES.iter().enumerate() {
        for mut scene in with_every_job() {
            change(&mut scene);
            let job = scene.local.job.clone();
            let decision = scene.decide();
            assert!(
                !starts(&decision),
                "change {number}, {job:?}: {:?}",
                decision.actions
            );
            // Nor where what is there was taken for good data meanwhile.
            scene.local.data = Data::Cluster(cluster());
            let decision = scene.decide();
            assert!(
                !starts(&decision),
                "change {number}, {job:?} over good data: {:?}",
                decision.actions
            );
        }
    }
}

#[test]
fn nor_as_the_primary_of_an_epoch_that_is_held() {
    let mut scene = Scene::new();
    scene.me.name = name(2);
    scene.me.nonce = Nonce(2);
    scene.raft.leads = false;
    scene.local.lease = held(1);
    scene.local.tree = Tree::Empty;
    assert!(starts(&scene.decide()));
    scene.local.begins(JobKind::Initialize, NOW);
    scene.local.data = Data::Cluster(cluster());
    assert!(!starts(&scene.decide()));
}

#[test]
fn whoever_replaces_its_data_does_not_stand() {
    for mut scene in with_every_job() {
        scene.revoke(expired());
        assert_eq!(scene.tells().standing, None);
        assert_eq!(scene.tells().system_identifier, None, "nothing to tell of");
    }
    // Nor where a standby was told to start on it all the same.
    let mut scene = cloning();
    scene.revoke(expired());
    scene.local.starts(Tree::Standby {
        since: NOW,
        pinned: None,
    });
    scene.local.data = Data::Cluster(cluster());
    assert_eq!(scene.tells().standing, None);
}

#[test]
fn a_look_at_the_data_from_before_the_job_does_not_count() {
    let mut scene = rewinding();
    scene.local.finds(Data::Cluster(cluster()));
    assert_eq!(scene.local.data, Data::Unfinished);
}

#[test]
fn a_cancelled_job_is_there_until_it_has_ended() {
    for mut scene in [rewinding(), cloning()] {
        primary_next(&mut scene, 2);
        scene.local.lease = LeaseView::default();
        assert_eq!(scene.decide().actions, [Action::CancelJob]);
        assert!(scene.local.cancels());
        assert!(!scene.local.cancels(), "cancelled before");
        assert_eq!(scene.decide().actions, [], "it may still write");
        scene.local.fails("it was cancelled".to_owned(), NOW);
        assert_eq!(scene.local.failed, None, "what was cancelled did not fail");
        assert_eq!(scene.local.replacing(), None);
        scene.local.finds(Data::Cluster(cluster()));
        scene.local.settled = Some(at(2, 0x1500, &[2]));
        assert!(starts(&scene.decide()));
    }
}

#[test]
fn a_job_beside_the_data_ends_with_its_cancelling() {
    let mut scene = Scene::new();
    scene.local.begins(JobKind::Settle, NOW);
    assert!(scene.local.cancels());
    assert_eq!(scene.local.job, None);
    assert!(!scene.local.cancels());
}

#[test]
fn status_tells_what_the_job_is_and_how_far() {
    let mut scene = rewinding();
    if let Some(job) = &mut scene.local.job {
        job.progress = Some("1 of 2 MiB rewound from n3".to_owned());
    }
    let why = scene.decide().why;
    assert_eq!(why.state, MemberState::Rewinding);
    assert_eq!(why.detail.as_deref(), Some("1 of 2 MiB rewound from n3"));
    scene.local.cancels();
    let detail = scene.decide().why.detail.unwrap_or_default();
    assert!(detail.contains("cancelled"), "{detail}");
}

/// Whoever is attached may receive more after it has told how far it is (P4).
#[test]
fn whoever_has_an_upstream_does_not_stand() {
    let mut scene = Scene::new();
    scene.settled(at(1, 0x1000, &[]));
    scene.revoke(expired());
    assert!(scene.tells().standing.is_some());
    scene.local.upstream = Some(Upstream {
        node: name(2),
        epoch: Epoch(1),
        slot: "pgha_t1_n1".to_owned(),
        address: String::new(),
    });
    assert_eq!(scene.tells().standing, None);
}

/// Who is asked to end does not wait for a copy; a rewind half way would leave nothing to start from.
#[test]
fn a_copy_is_ended_with_the_sidecar_and_a_rewind_is_not() {
    let mut scene = behind_n3();
    scene.local.shutting_down = true;
    for (kind, ends) in [
        (
            JobKind::Clone {
                from: name(3),
                epoch: scene.state.epoch,
            },
            true,
        ),
        (
            JobKind::Rewind {
                from: name(3),
                epoch: scene.state.epoch,
            },
            false,
        ),
    ] {
        scene.local.job = None;
        scene.local.begins(kind, NOW);
        let cancels = scene.decide().actions.contains(&Action::CancelJob);
        assert_eq!(cancels, ends);
        scene.local.cancels();
        let again = scene.decide().actions.contains(&Action::CancelJob);
        assert!(!again, "once");
    }
}
