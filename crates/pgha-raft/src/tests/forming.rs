//! Formation, the log, restarts.

use std::time::Duration;

use pgha_core::command::Create;
use pgha_core::{Command, Generation, RaftId, Secret, Settings};

use super::harness::{Cluster, command};
use crate::{InitializeError, Options, ProposeError, RaftNode, RaftService, StartError, Store};

fn create() -> Command {
    Command::Create(Create {
        cluster: "main".to_owned(),
        cluster_id: "c-test".into(),
        generation: Generation(1),
        members: Default::default(),
        settings: Settings::default(),
        replication_secret: Secret::default(),
    })
}

#[test]
fn three_members_form_and_agree() {
    let cluster = Cluster::formed(3);
    let leader = cluster.wait_for_leader();
    let outcome = cluster.on(leader, async |node| {
        node.propose(create(), Duration::from_secs(5)).await
    });
    assert_eq!(outcome, Ok(Ok(())));
    // A second one is committed as well, and refused by the state.
    let again = cluster.on(leader, async |node| {
        node.propose(create(), Duration::from_secs(5)).await
    });
    assert!(matches!(again, Ok(Err(_))), "{again:?}");

    let applied = cluster.role(leader).applied;
    for id in 1..=3 {
        cluster.wait_applied(id, applied);
        let role = cluster.wait_role(id, "caught up", |role| {
            role.is_caught_up() && role.quorum_fresh
        });
        assert_eq!(role.leader.as_ref().unwrap().raft_id, RaftId(leader));
        assert_eq!(role.leader.as_ref().unwrap().name.0, format!("n{leader}"));
        assert_eq!(role.voters.len(), 3);
        assert!(role.learners.is_empty() && role.i_am_voter);
        assert_eq!(role.effective_voters, role.committed_voters);
        let state = cluster.node(id).state().borrow().clone();
        assert_eq!(state.state.cluster_id.0, "c-test");
        assert_eq!(state.membership, role.effective_membership);
    }

    let follower = leader % 3 + 1;
    match cluster.propose(follower) {
        Err(ProposeError::NotLeader {
            leader: Some(known),
        }) => {
            assert_eq!(known.raft_id, RaftId(leader));
        }
        other => panic!("{other:?}"),
    }
    let members = cluster.binding.members.clone();
    let twice = cluster.on(leader, async move |node| node.initialize(&members).await);
    assert!(
        matches!(twice, Err(InitializeError::NotPristine(_))),
        "{twice:?}"
    );
}

#[test]
fn a_large_command_is_refused_before_it_is_written() {
    let cluster = Cluster::formed(1);
    let applied = cluster.role(1).applied;
    let large = command(&"x".repeat(17_000));
    let refused = cluster.on(1, async |node| {
        node.propose(large, Duration::from_secs(5)).await
    });
    assert!(
        matches!(refused, Err(ProposeError::TooLarge { .. })),
        "{refused:?}"
    );
    assert!(!refused.unwrap_err().outcome_is_unknown());
    let fits = command(&"x".repeat(16_000));
    let taken = cluster.on(1, async |node| {
        node.propose(fits, Duration::from_secs(5)).await
    });
    assert!(taken.is_ok(), "{taken:?}");
    let state = cluster.node(1).state().borrow().clone();
    assert_eq!(state.applied_index(), applied + 1);
}

#[test]
fn all_members_restart_with_what_they_had() {
    let mut cluster = Cluster::formed(3);
    let leader = cluster.wait_for_leader();
    cluster
        .on(leader, async |node| {
            node.propose(create(), Duration::from_secs(5)).await
        })
        .unwrap()
        .unwrap();
    for _ in 0..5 {
        cluster.commits();
    }
    let applied = cluster.role(leader).applied;
    (1..=3).for_each(|id| cluster.wait_applied(id, applied));
    let term = cluster.role(leader).term;
    (1..=3).for_each(|id| cluster.kill(id));
    cluster.start_all();
    let leader = cluster.wait_for_leader();
    assert!(cluster.role(leader).term >= term);
    cluster.commits();
    for id in 1..=3 {
        cluster.wait_applied(id, applied + 1);
        assert!(cluster.node(id).state().borrow().state.is_created());
    }
}

#[test]
fn a_cluster_of_one_leads_again_at_once() {
    let mut cluster = Cluster::formed(1);
    cluster.propose(1).unwrap().unwrap_err();
    cluster.kill(1);
    let begun = std::time::Instant::now();
    cluster.start(1);
    cluster.wait_for_leader();
    cluster.propose(1).unwrap().unwrap_err();
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_store_without_a_cluster_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("raft")).unwrap();
    let outcome = RaftNode::start(store, Options::default(), &RaftService::new()).await;
    assert!(matches!(outcome.err(), Some(StartError::Unbound)));
}
