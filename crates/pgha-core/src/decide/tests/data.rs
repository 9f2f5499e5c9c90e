//! Data that is not the cluster's.

use super::entries::{name, primary};
use super::scene::{NOW, Scene};
use super::views::{begins, cluster, expired, held, serving_primary};
use crate::decide::*;
use crate::{Epoch, Nonce, StartKind, SystemIdentifier};

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

/// Its own first data, made in vain: running it would serve what is nobody's, until somebody promotes it
/// by hand.
#[test]
fn data_made_in_vain_is_not_started_while_there_is_no_primary() {
    let mut scene = Scene::new();
    scene.local.tree = Tree::Empty;
    scene.revoke(expired());
    assert!(
        scene
            .decide()
            .actions
            .iter()
            .any(|action| matches!(action, Action::StartStandby { .. }))
    );
    scene.local.data = Data::Cluster(DataCluster {
        system_identifier: SystemIdentifier(99),
        never_served: true,
        ..cluster()
    });
    assert_eq!(scene.decide().actions, []);
    assert_eq!(scene.decide().why.state, MemberState::Stopped);
}

/// PostgreSQL itself finds out within a minute, and a primary acknowledges until then.
#[test]
fn nothing_runs_on_without_its_data_directory() {
    let mut scene = Scene::new();
    scene.me.name = name(2);
    scene.me.nonce = Nonce(2);
    scene.raft.leads = false;
    scene.local.lease = held(1);
    let primary = Tree::Primary {
        epoch: Epoch(1),
        since: NOW,
    };
    let standby = Tree::Standby {
        since: NOW,
        pinned: None,
    };
    for (tree, gate_open) in [(primary, Some(Epoch(1))), (standby, None)] {
        scene.local.tree = tree;
        scene.local.gate_open = gate_open;
        scene.local.finds_removed();
        let decision = scene.decide();
        let mut expected = vec![Action::Stop(StopMode::Immediate)];
        if gate_open.is_some() {
            expected.insert(0, Action::CloseGate);
        }
        assert_eq!(decision.actions, expected);
        assert_eq!(decision.why.reason, Some(Reason::DataMissing));
        scene.local.ends();
        assert!(
            !scene
                .decide()
                .actions
                .contains(&expected[expected.len() - 1])
        );
    }
}
