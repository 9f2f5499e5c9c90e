//! A leader without a quorum takes nothing.

use std::time::{Duration, Instant};

use super::harness::{Cluster, command};
use crate::ProposeError;

#[test]
fn refuses_commands_and_reads_until_a_quorum_is_back() {
    let mut cluster = Cluster::formed(3);
    let leader = cluster.wait_for_leader();
    let others: Vec<u64> = (1..=3).filter(|&id| id != leader).collect();
    cluster
        .on(leader, async |node| {
            node.confirm_quorum(Duration::from_secs(5)).await
        })
        .unwrap();
    others.iter().for_each(|&id| cluster.kill(id));

    cluster.wait_role(leader, "misses its quorum", |role| !role.quorum_fresh);
    let begun = Instant::now();
    let refused = cluster.propose(leader).unwrap_err();
    assert!(
        matches!(refused, ProposeError::NoQuorum { silent: Some(_) }),
        "{refused}"
    );
    assert!(!refused.outcome_is_unknown());
    assert!(
        begun.elapsed() < Duration::from_millis(200),
        "{:?}",
        begun.elapsed()
    );
    let read = cluster.on(leader, async |node| {
        node.confirm_quorum(Duration::from_secs(2)).await
    });
    assert!(read.is_err(), "{read:?}");
    assert!(cluster.node(leader).quorum_age().unwrap() > cluster.options.lease);

    cluster.start(others[0]);
    cluster.wait_for_leader();
    cluster.commits();
}

/// Within the lease the leader cannot know better: the command is written, and its outcome unknown.
#[test]
fn a_command_without_an_answer_has_an_unknown_outcome() {
    let cluster = Cluster::formed(3);
    let leader = cluster.wait_for_leader();
    cluster.isolate(leader);
    let waited = Duration::from_millis(300);
    let outcome = cluster.on(leader, async move |node| {
        node.propose(command("x"), waited).await
    });
    assert_eq!(outcome, Err(ProposeError::TimedOut(waited)));
    assert!(outcome.unwrap_err().outcome_is_unknown());
}
