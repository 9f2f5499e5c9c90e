//! Going on with one member after the others were lost for ever, and what meets those who return.

use std::time::Duration;

use pgha_core::command::{Create, Primary, Revoke};
use pgha_core::journal::Cause;
use pgha_core::{
    Addresses, Command, Epoch, Generation, Member, MemberKind, Nonce, Phase, RaftId, Secret,
    Settings, SystemIdentifier,
};
use tonic::Code;

use super::harness::{Cluster, PATIENCE};
use crate::{ProposeError, RecoverError, Recovered, Store};

const SOON: Duration = Duration::from_secs(5);

/// Three members, and n1 is primary of epoch 1 as far as the log goes.
fn cluster() -> Cluster {
    let cluster = Cluster::formed(3);
    let listed = cluster.binding.members.iter().map(|formed| {
        let (id, store) = (formed.raft_id, formed.store_id.clone());
        let member = Member::new(MemberKind::Data, id, store, Addresses::default());
        (formed.name.clone(), member)
    });
    let create = Command::Create(Create {
        cluster: "main".to_owned(),
        cluster_id: cluster.binding.cluster_id.clone(),
        generation: Generation(1),
        members: listed.collect(),
        settings: Settings::default(),
        replication_secret: Secret::new("secret".to_owned()),
    });
    let bootstrap = Command::Bootstrap {
        expected: Epoch::NONE,
        node: "n1".into(),
    };
    let made = SystemIdentifier(7);
    let primary = Primary::initial(Epoch(1), "n1".into(), Nonce(1), made, String::new());
    for command in [create, bootstrap, Command::Primary(primary)] {
        apply(&cluster, &command);
    }
    for id in 1..=3 {
        let node = cluster.node(id).clone();
        cluster.on(id, async move |_| {
            let mut state = node.state();
            let named = state.wait_for(|view| view.state.primary().is_some());
            tokio::time::timeout(PATIENCE, named)
                .await
                .unwrap()
                .unwrap();
        });
    }
    cluster
}

/// Has whoever leads commit a command.
fn apply(cluster: &Cluster, command: &Command) {
    let leader = cluster.wait_for_leader();
    let command = command.clone();
    let outcome = cluster.on(leader, async move |node| node.propose(command, SOON).await);
    outcome.unwrap().unwrap();
}

fn revoke(expected: u64) -> Command {
    Command::Revoke(Revoke {
        expected: Epoch(expected),
        cause: Cause::HolderRestarted,
        leader: "n1".into(),
        at: String::new(),
        steps: Vec::new(),
    })
}

fn recover(cluster: &Cluster, id: u64) -> Result<Recovered, RecoverError> {
    cluster.on(id, async move |node| {
        node.recover("2026-11-21T00:00:00Z".to_owned(), None).await
    })
}

#[test]
fn one_member_goes_on_alone_and_keeps_what_it_knew() {
    let mut cluster = cluster();
    cluster.kill(2);
    cluster.kill(3);
    let adopted = cluster.node(1).store().clone();
    cluster.on(1, async move |_| {
        adopted.adopt_epoch(Epoch(6)).await.unwrap();
    });

    let recovered = recover(&cluster, 1).unwrap();
    let expected = Recovered {
        generation: Generation(2),
        // Above what it adopted, not only above what it has in its log.
        epoch: Epoch(7),
    };
    assert_eq!(recovered, expected);
    // Nothing of the old generation is promised from here on.
    let store = cluster.node(1).store().clone();
    let late = cluster.on(1, async move |_| store.adopt_epoch(Epoch(9)).await);
    assert!(late.is_err());

    cluster.kill(1);
    cluster.start(1);
    assert_eq!(cluster.wait_for_leader(), 1);
    let role = cluster.wait_role(1, "alone", |role| role.voters.len() == 1);
    assert_eq!(role.members.len(), 1);
    cluster.commits();
    let view = cluster.node(1).state().borrow().clone();
    assert_eq!(
        (view.state.generation, view.state.epoch),
        (Generation(2), Epoch(7))
    );
    assert_eq!(view.state.members.len(), 3, "the others can come back");
    assert_eq!(view.state.ruled_out, [RaftId(2), RaftId(3)].into());
    assert_eq!(cluster.node(1).store().adopted_epoch(), Epoch(7));
    assert_eq!(
        cluster.node(1).store().binding().unwrap().generation,
        Generation(2)
    );
}

#[test]
fn an_entry_that_may_have_been_committed_counts() {
    let mut cluster = cluster();
    let leader = cluster.wait_for_leader();
    for other in (1..=3).filter(|&id| id != leader) {
        cluster.kill(other);
    }
    // Nobody answers any more, and it is in the log all the same.
    let before = cluster.node(leader).log_extent();
    let unknown = cluster.on(leader, async move |node| {
        node.propose(revoke(1), Duration::from_millis(300)).await
    });
    assert!(
        matches!(unknown, Err(ProposeError::TimedOut(_))),
        "{unknown:?}"
    );
    let extent = cluster.node(leader).log_extent();
    assert!(
        extent.last > before.last && extent.committed <= before.last,
        "{extent:?}"
    );
    let recovered = recover(&cluster, leader).unwrap();
    assert_eq!(
        recovered.epoch,
        Epoch(3),
        "epoch 2 may have been somebody's"
    );
    cluster.kill(leader);
    cluster.start(leader);
    cluster.commits();
    let view = cluster.node(leader).state().borrow().clone();
    assert_eq!(view.state.epoch, Epoch(3));
    let causes: Vec<&str> = view.state.journal.iter().map(|e| e.cause.code()).collect();
    assert_eq!(
        causes,
        ["formation", "holder_restarted", "quorum_recovered"]
    );
    assert!(matches!(&view.state.phase, Phase::Revoked(r) if r.target.is_some()));
}

#[test]
fn both_directions_tell_the_old_generation_that_it_is_over() {
    let mut cluster = cluster();
    cluster.kill(2);
    cluster.kill(3);
    recover(&cluster, 1).unwrap();
    cluster.kill(1);
    // Before they reach the survivor they are what they were.
    cluster.start(2);
    cluster.start(3);
    cluster.commits();
    assert_eq!(*cluster.node(2).generation_seen().borrow(), Generation(1));
    cluster.start(1);
    cluster.wait_role(1, "leads", |role| role.is_leader);

    // They ask it: refused, and the refusal tells.
    for id in [2, 3] {
        let status = cluster.pre_vote(id, 1, 1000, |_| {}).unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        cluster.node(id).note_refusal(&status);
        assert_eq!(*cluster.node(id).generation_seen().borrow(), Generation(2));
    }
    assert_eq!(*cluster.node(1).generation_seen().borrow(), Generation(2));
    // Their own leader learns it by itself, as it sends to all it had.
    let old = if cluster.role(2).is_leader { 2 } else { 3 };
    cluster.kill(old);
    cluster.kill(5 - old);
    cluster.start(2);
    cluster.start(3);
    let heard = |id: u64| *cluster.node(id).generation_seen().borrow() == Generation(2);
    let end = std::time::Instant::now() + PATIENCE;
    while !heard(2) && !heard(3) {
        assert!(std::time::Instant::now() < end, "nobody was told");
        std::thread::sleep(Duration::from_millis(5));
    }
    // It asks them.
    for id in [2, 3] {
        let status = cluster.pre_vote(1, id, 1000, |_| {}).unwrap_err();
        assert!(status.message().contains("the sender in 2"), "{status}");
        assert!(heard(id));
    }
    // It lost nothing by any of that.
    let role = cluster.role(1);
    assert!(role.is_leader && role.voters.len() == 1, "{role:#?}");
}

#[test]
fn two_that_were_recovered_apart_do_not_mix() {
    let mut cluster = cluster();
    for id in 1..=3 {
        cluster.kill(id);
    }
    for id in [1, 2] {
        cluster.start(id);
        recover(&cluster, id).unwrap();
        cluster.kill(id);
    }
    for id in [1, 2] {
        cluster.start(id);
        cluster.wait_role(id, "leads", |role| role.is_leader);
    }
    for (from, to) in [(1, 2), (2, 1)] {
        let status = cluster.pre_vote(from, to, 1000, |_| {}).unwrap_err();
        assert!(
            status.message().contains("there are two clusters"),
            "{status}"
        );
    }
}

#[test]
fn a_refused_recovery_changes_nothing() {
    // No primary was ever named.
    let cluster = Cluster::formed(1);
    let refused = recover(&cluster, 1).unwrap_err();
    assert!(refused.is_refusal(), "{refused}");
    cluster.commits();
    assert_eq!(
        cluster.node(1).store().binding().unwrap().generation,
        Generation(1)
    );
}

#[test]
fn a_store_that_was_ruled_out_is_never_opened_again() {
    let mut cluster = Cluster::formed(1);
    let dir = cluster.members[&1].dir.clone();
    let id = cluster.node(1).store().store_id();
    assert_eq!(Store::ruled_out_by(&dir), None);
    // While it is open: its process is told, and ends afterwards.
    let moved_to = Store::rule_out(&dir, Generation(4)).unwrap();
    cluster.kill(1);
    assert!(!dir.exists() && moved_to.join("store").exists());
    let store = Store::open(&dir).unwrap();
    assert_ne!(store.store_id(), id);
    assert_eq!(store.binding(), None);
    assert_eq!(Store::quarantines(&dir), [moved_to]);
    assert_eq!(Store::ruled_out_by(&dir), Some(Generation(4)));
}
