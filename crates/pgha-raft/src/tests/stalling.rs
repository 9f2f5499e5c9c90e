//! Disks that take their time.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::harness::{BROKEN, Cluster, PATIENCE, command};
use crate::{Fatal, ProposeError};

#[test]
fn a_stalled_disk_of_a_follower_does_not_depose_the_leader() {
    let cluster = Cluster::formed(3);
    let leader = cluster.wait_for_leader();
    let term = cluster.role(leader).term;
    let follower = leader % 3 + 1;
    cluster.members[&follower]
        .delay_ms
        .store(5000, Ordering::SeqCst);
    // Without an entry there is nothing to stall on.
    cluster.commits();
    cluster.members[&follower]
        .delay_ms
        .store(0, Ordering::SeqCst);
    let begun = Instant::now();
    cluster.assert_stays(leader, term, Duration::from_millis(5500));
    cluster.commits();
    let applied = cluster.role(leader).applied;
    cluster.wait_applied(follower, applied);
    assert!(begun.elapsed() > Duration::from_secs(5));
    cluster.assert_stays(leader, term, Duration::from_secs(1));
}

/// openraft waits for its own disk before it does anything else: its heartbeats stop, and the others
/// elect. That is as it should be, a leader that cannot write is none. What it had taken stays
/// unknown to its author.
#[test]
fn a_leader_with_a_stalled_disk_is_replaced() {
    let cluster = Cluster::formed(3);
    let old = cluster.wait_for_leader();
    cluster.members[&old].delay_ms.store(3000, Ordering::SeqCst);
    let begun = Instant::now();
    let waited = Duration::from_millis(100);
    let outcome = cluster.on(old, async move |node| {
        node.propose(command("x"), waited).await
    });
    assert!(outcome.is_err_and(|error| error.outcome_is_unknown()));
    cluster.members[&old].delay_ms.store(0, Ordering::SeqCst);
    let new = cluster.wait_for_other_leader(old);
    let gap = begun.elapsed();
    println!("leader's disk stalled, to the next leader: {gap:?}");
    assert!(gap < Duration::from_secs(3), "{gap:?}");
    cluster.commits();
    let term = cluster.role(new).term;
    cluster.wait_role(old, "steps down", |role| {
        !role.is_leader && role.term == term
    });
}

#[test]
fn a_broken_disk_ends_the_member_and_not_the_cluster() {
    let cluster = Cluster::formed(3);
    let old = cluster.wait_for_leader();
    cluster.members[&old]
        .delay_ms
        .store(BROKEN, Ordering::SeqCst);
    let outcome = cluster.propose(old);
    assert!(outcome.is_err_and(|error| error.outcome_is_unknown()));
    let fatal = cluster.on(old, async |node| {
        let mut fatal = node.fatal();
        let ended = tokio::time::timeout(PATIENCE, fatal.wait_for(Option::is_some)).await;
        ended.unwrap().unwrap().clone()
    });
    assert!(matches!(fatal, Some(Fatal::Store(_))), "{fatal:?}");
    let refused = cluster.propose(old).unwrap_err();
    let refused_or_ended = matches!(
        refused,
        ProposeError::Fatal(_) | ProposeError::NoQuorum { .. }
    );
    assert!(refused_or_ended, "{refused:?}");
    cluster.wait_for_other_leader(old);
    cluster.commits();
}
