//! Who leads after the leader is gone, silent, or only slow.

use std::time::{Duration, Instant};

use pgha_core::RaftId;

use super::harness::Cluster;

#[test]
fn a_killed_leader_is_replaced_before_its_lease_is_over() {
    let mut cluster = Cluster::formed(3);
    let mut gaps = Vec::new();
    for _ in 0..5 {
        let old = cluster.wait_for_leader();
        let term = cluster.role(old).term;
        cluster.kill(old);
        let killed = Instant::now();
        let new = cluster.wait_for_other_leader(old);
        cluster.commits();
        gaps.push(killed.elapsed());
        assert!(cluster.role(new).term > term);
        cluster.start(old);
        cluster.wait_role(old, "follows", |role| {
            role.leader
                .as_ref()
                .is_some_and(|leader| leader.raft_id == RaftId(new))
        });
    }
    println!("leader killed, to the first commit of the next one: {gaps:?}");
    let worst = gaps.iter().max().unwrap();
    assert!(*worst < Duration::from_secs(3), "{gaps:?}");
}

/// The hint ends the patience of the one who got it; the others look for themselves. Here they find
/// an open port, and the leader stays.
#[test]
fn a_wrong_hint_does_not_depose_a_leader_that_is_there() {
    let cluster = Cluster::formed(3);
    let leader = cluster.wait_for_leader();
    let term = cluster.role(leader).term;
    let follower = leader % 3 + 1;
    cluster.node(follower).leader_gone(RaftId(leader));
    cluster.assert_stays(leader, term, Duration::from_millis(1500));
}

#[test]
fn a_follower_that_was_cut_off_does_not_depose_the_leader() {
    let cluster = Cluster::formed(3);
    let leader = cluster.wait_for_leader();
    let term = cluster.role(leader).term;
    let follower = leader % 3 + 1;
    cluster.isolate(follower);
    cluster.wait_role(follower, "hears nobody", |role| !role.quorum_fresh);
    cluster.assert_stays(leader, term, Duration::from_millis(1500));
    cluster.heal();
    cluster.wait_role(follower, "hears the leader", |role| role.quorum_fresh);
    cluster.assert_stays(leader, term, Duration::from_millis(1500));
    cluster.commits();
}

/// One direction only: the follower hears nothing, everybody hears it.
#[test]
fn a_deaf_follower_does_not_depose_the_leader() {
    let cluster = Cluster::formed(3);
    let leader = cluster.wait_for_leader();
    let term = cluster.role(leader).term;
    cluster.cut(leader, leader % 3 + 1);
    cluster.assert_stays(leader, term, Duration::from_secs(3));
}

/// The leader's messages arrive, the answers do not: it must not keep the others from electing one
/// that hears them.
#[test]
fn a_leader_that_nobody_can_answer_lets_the_others_elect() {
    let cluster = Cluster::formed(3);
    let old = cluster.wait_for_leader();
    for other in (1..=3).filter(|&id| id != old) {
        cluster.cut(other, old);
    }
    let cut = Instant::now();
    let new = cluster.wait_for_other_leader(old);
    println!(
        "leader without answers, to the next one: {:?}",
        cut.elapsed()
    );
    cluster.commits();
    cluster.heal();
    let term = cluster.role(new).term;
    cluster.wait_role(old, "steps down", |role| {
        !role.is_leader && role.term >= term
    });
    cluster.wait_for_leader();
    cluster.commits();
}

#[test]
fn a_silent_leader_is_replaced_and_follows_when_it_is_heard_again() {
    let cluster = Cluster::formed(3);
    let old = cluster.wait_for_leader();
    cluster.isolate(old);
    let cut = Instant::now();
    let new = cluster.wait_for_other_leader(old);
    println!("silent leader, to the next one: {:?}", cut.elapsed());
    cluster.commits();
    cluster.wait_role(old, "knows that it is alone", |role| !role.quorum_fresh);
    let term = cluster.role(new).term;
    cluster.heal();
    cluster.wait_role(old, "follows", |role| {
        role.leader
            .as_ref()
            .is_some_and(|leader| leader.raft_id == RaftId(new))
    });
    cluster.assert_stays(new, term, Duration::from_millis(1000));
}
