//! Scenarios that the simulator found, one decision each.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::command::{Command, Opened, Primary, Revoke};
use crate::journal::{Cause, LostRange};
use crate::lease::{Hold, LeaseTiming, Quorums};
use crate::lineage::Position;
use crate::report::{MemberReport, SlotReport, Standing};
use crate::state::Phase;
use crate::{
    Addresses, ClusterId, ClusterState, Epoch, ForkId, Generation, Lsn, Member, Nonce, RaftId,
    Secret, Settings, StartKind, StoreId, SystemIdentifier,
};

const NOW: Mono = Mono::from_millis(1_000_000);
const IDENTIFIER: SystemIdentifier = SystemIdentifier(77);

/// One member's view, n1's unless changed, of a cluster of three; n1 leads the Raft group.
struct Scene {
    me: Me,
    state: ClusterState,
    since: Since,
    raft: RaftView,
    local: Local,
    peers: BTreeMap<MemberName, Heard>,
    index: u64,
}

impl Scene {
    /// n2 was the first primary, opened, on timeline 1.
    fn new() -> Self {
        let ids: BTreeSet<RaftId> = (1..=3).map(RaftId).collect();
        let voters = ids.iter().map(|id| (*id, name(id.0))).collect();
        let mut scene = Self {
            me: Me {
                name: name(1),
                nonce: Nonce(1),
                kind: MemberKind::Data,
            },
            state: ClusterState::default(),
            since: Since::default(),
            raft: RaftView {
                leader: Some(name(1)),
                leads: true,
                quorum: true,
                quorums: Quorums::new([ids]),
                voters,
                transfer_tried: Some(NOW),
            },
            local: Local::default(),
            peers: BTreeMap::new(),
            index: 0,
        };
        scene.apply(create());
        scene.apply(Command::Bootstrap {
            expected: Epoch(0),
            node: name(2),
        });
        scene.apply(primary(1, 2, StartKind::Initial, 1, 1, 0));
        scene.apply(opened(1, 1, None));
        scene.local.adopted = Epoch(1);
        scene.local.data = Data::Cluster(cluster());
        scene
    }

    fn apply(&mut self, command: Command) {
        self.index += 1;
        self.state.apply(self.index, &command).expect("accepted");
        self.local.adopted = self.state.epoch;
    }

    /// The newest epoch ends for this cause, with 10 s gone since.
    fn revoke(&mut self, cause: Cause) {
        self.apply(Command::Revoke(Revoke {
            expected: self.state.epoch,
            cause,
            leader: name(1),
            at: String::new(),
            steps: Vec::new(),
        }));
        self.since.phase = NOW - Duration::from_secs(10);
    }

    fn hears(&mut self, report: MemberReport) {
        let heard = Heard {
            report,
            at: NOW,
            refused_at: None,
        };
        self.peers.insert(heard.report.name.clone(), heard);
    }

    /// A peer answers the current Revoke.
    fn stands(&mut self, who: u64, position: Position, former_primary: bool) {
        let Phase::Revoked(revoked) = &self.state.phase else {
            panic!("not revoked")
        };
        let mut report = report(who);
        report.standing = Some(Standing {
            epoch: self.state.epoch,
            index: revoked.index,
            position,
            former_primary,
            running: false,
            end_is_exact: former_primary,
            redo_bytes: Some(0),
        });
        self.hears(report);
    }

    fn decide(&self) -> Decision {
        let fresh = Fresh {
            fork_id: ForkId::from("fresh"),
            at: String::new(),
        };
        let decision = decide(&Input {
            me: &self.me,
            now: NOW,
            state: &self.state,
            since: self.since,
            raft: &self.raft,
            local: &self.local,
            peers: &self.peers,
            fresh: &fresh,
        });
        assert!(
            decision.wake_at > NOW,
            "wakes at {:?} for what was just decided",
            decision.wake_at
        );
        decision
    }

    /// Who is proposed as primary, and how.
    fn elects(&self) -> Option<(MemberName, StartKind)> {
        self.decide()
            .actions
            .into_iter()
            .find_map(|action| match action {
                Action::Propose(command) => match *command {
                    Command::Primary(primary) => Some((primary.node, primary.kind)),
                    _ => None,
                },
                _ => None,
            })
    }

    /// n3 was promoted to timeline 2 at 0/1000 in the epoch after, and opened unless it did not.
    fn promote_n3(&mut self, open: bool) {
        self.revoke(expired());
        let epoch = self.state.epoch.0;
        self.apply(primary(epoch, 3, StartKind::Promotion, 2, 1, 0x1000));
        if open {
            self.apply(opened(epoch, 2, Some(0x1000)));
        }
        self.since.phase = NOW - Duration::from_secs(60);
    }

    /// A standby without upstream runs here, and its data was read.
    fn settled(&mut self, position: Position) {
        self.local.tree = Tree::Standby {
            since: NOW,
            pinned: None,
        };
        self.local.probe = Some(Probe {
            in_recovery: true,
            timeline: position.timeline,
            received: position.end,
            replayed: position.end,
            ..Probe::default()
        });
        self.local.settled = Some(position);
    }
}

fn name(number: u64) -> MemberName {
    format!("n{number}").into()
}

fn create() -> Command {
    let member = |number: u64| {
        let store = StoreId::from(format!("s{number}"));
        let addresses = Addresses::default();
        let member = Member::new(MemberKind::Data, RaftId(number), store, addresses);
        (name(number), member)
    };
    Command::Create(crate::command::Create {
        cluster: "main".to_owned(),
        cluster_id: ClusterId::from("c"),
        generation: Generation(1),
        members: (1..=3).map(member).collect(),
        settings: Settings::default(),
        replication_secret: Secret::default(),
    })
}

fn primary(
    epoch: u64,
    node: u64,
    kind: StartKind,
    timeline: u32,
    parent: u32,
    lsn: u64,
) -> Command {
    Command::Primary(Primary {
        epoch: Epoch(epoch),
        node: name(node),
        nonce: Nonce(node),
        kind,
        timeline: TimelineId(timeline),
        parent: TimelineId(parent),
        lsn: Lsn(lsn),
        fork_id: (kind == StartKind::Promotion).then(|| format!("f{timeline}").into()),
        system_identifier: Some(IDENTIFIER),
        at: String::new(),
        evidence: Vec::new(),
        lost: None,
        steps: Vec::new(),
    })
}

fn opened(epoch: u64, timeline: u32, fork: Option<u64>) -> Command {
    Command::Opened(Opened {
        epoch: Epoch(epoch),
        timeline: TimelineId(timeline),
        fork_lsn: fork.map(Lsn),
        fork_row_lsn: fork.map(|lsn| Lsn(lsn + 0x100)),
        steps: Vec::new(),
    })
}

fn cluster() -> DataCluster {
    DataCluster {
        system_identifier: IDENTIFIER,
        timeline: TimelineId(1),
        ..DataCluster::default()
    }
}

fn at(timeline: u32, end: u64, rows: &[u32]) -> Position {
    Position {
        timeline: TimelineId(timeline),
        end: Lsn(end),
        fork_ids: rows
            .iter()
            .map(|t| (TimelineId(*t), format!("f{t}").into()))
            .collect(),
    }
}

fn report(who: u64) -> MemberReport {
    MemberReport {
        name: name(who),
        raft_id: RaftId(who),
        store_id: format!("s{who}").into(),
        nonce: Nonce(who),
        kind: MemberKind::Data,
        addresses: Addresses::default(),
        adopted: Epoch(1),
        applied_index: 0,
        role: Role::None,
        state: MemberState::Fenced,
        reason: None,
        detail: None,
        timeline: Some(TimelineId(1)),
        received: None,
        replayed: None,
        system_identifier: Some(IDENTIFIER),
        standing: None,
        gate_open: None,
        grant: crate::report::GrantReport::default(),
        opened: None,
        checkpointed: None,
        slots: Vec::new(),
        lost: None,
        shutting_down: false,
        restart_pending: Vec::new(),
    }
}

/// n2, primary of the first epoch.
fn serving_primary() -> MemberReport {
    MemberReport {
        gate_open: Some(Epoch(1)),
        ..report(2)
    }
}

fn expired() -> Cause {
    Cause::Expired {
        reporters: Vec::new(),
    }
}

fn held(epoch: u64) -> LeaseView {
    let timing = LeaseTiming::from_millis(1500).expect("valid");
    LeaseView {
        epoch: Epoch(epoch),
        hold: Hold::Held(timing.deadlines(NOW)),
        deadlines: Some(timing.deadlines(NOW)),
        held_since: Some(NOW),
    }
}

fn begins(decision: &Decision) -> Vec<JobKind> {
    let job = |action: &Action| match action {
        Action::Begin(kind) => Some(kind.clone()),
        _ => None,
    };
    decision.actions.iter().filter_map(job).collect()
}

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

/// n3 serves on timeline 2, has checkpointed there, and is heard.
fn n3_serves(scene: &mut Scene) {
    let mut serving = report(3);
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
    let fresh = Fresh {
        fork_id: ForkId::default(),
        at: String::new(),
    };
    let input = Input {
        me: &scene.me,
        now: NOW,
        state: &scene.state,
        since: scene.since,
        raft: &scene.raft,
        local: &scene.local,
        peers: &scene.peers,
        fresh: &fresh,
    };
    let told = super::report(&input, &Why::default()).expect("a member");
    assert_eq!(told.lost, Some((Epoch(2), range)));
    scene.apply(Command::Lost {
        epoch: Epoch(2),
        range,
    });
    assert_eq!(scene.decide().actions, [Action::Stop(StopMode::Fast)]);
    scene.local.tree = Tree::Empty;
    let rewind = JobKind::Rewind {
        from: name(3),
        epoch: Epoch(2),
    };
    assert_eq!(begins(&scene.decide()), [rewind]);
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
fn a_lost_slot_is_dropped_before_it_is_made_anew() {
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
    let slot = |member: u64, lost| SlotReport {
        name: slot_name(TimelineId(1), &name(member)),
        restart_lsn: None,
        lost,
    };
    scene.local.probe = Some(Probe {
        timeline: TimelineId(1),
        checkpointed: Some(TimelineId(1)),
        slots: vec![slot(1, true), slot(3, false)],
        ..Probe::default()
    });
    let good = vec![slot_name(TimelineId(1), &name(3))];
    assert_eq!(scene.decide().actions, [Action::KeepSlots(good)]);
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
    let mut third = report(3);
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

#[test]
fn foreign_data_is_started_in_no_phase() {
    let mut earlier_life = Scene::new();
    earlier_life.me.name = name(2);
    earlier_life.me.nonce = Nonce(20);
    earlier_life.raft.leads = false;
    let mut revoked = Scene::new();
    revoked.revoke(expired());
    revoked.raft.leads = false;
    let mut own = Scene::new();
    own.revoke(expired());
    own.apply(primary(2, 1, StartKind::Promotion, 2, 1, 0x1000));
    own.raft.leads = false;
    own.local.lease = held(2);
    for mut scene in [earlier_life, revoked, own, Scene::new()] {
        scene.local.data = Data::Cluster(DataCluster {
            system_identifier: SystemIdentifier(78),
            ..cluster()
        });
        scene.local.tree = Tree::Empty;
        let decision = scene.decide();
        let touches = |action: &Action| {
            matches!(
                action,
                Action::StartStandby { .. }
                    | Action::StartPrimary { .. }
                    | Action::StartAttached(_)
                    | Action::Begin(_)
            )
        };
        assert!(!decision.actions.iter().any(touches), "{decision:?}");
        let why = decision.why;
        assert_eq!(why.reason, Some(Reason::DataForeign));
        let detail = why.detail.unwrap_or_default();
        assert!(detail.contains("78") && detail.contains("77"), "{detail}");

        scene.local.tree = Tree::Standby {
            since: NOW,
            pinned: None,
        };
        let stop = Action::Stop(StopMode::Fast);
        assert!(scene.decide().actions.contains(&stop));
    }
}

#[test]
fn data_that_was_made_here_and_never_served_is_replaced() {
    let mut scene = Scene::new();
    let foreign = DataCluster {
        system_identifier: SystemIdentifier(78),
        ..cluster()
    };
    scene.local.tree = Tree::Empty;
    scene.local.data = Data::Cluster(foreign.clone());
    assert_eq!(scene.decide().why.reason, Some(Reason::DataForeign));
    scene.local.data = Data::Cluster(DataCluster {
        never_served: true,
        ..foreign
    });
    scene.hears(serving_primary());
    assert!(matches!(
        begins(&scene.decide())[..],
        [JobKind::Clone { .. }]
    ));
}

#[test]
fn a_replica_whose_primary_went_with_the_quorum_serves_reads() {
    let mut scene = Scene::new();
    scene.raft.quorum = false;
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
