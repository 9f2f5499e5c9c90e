//! A member whose store may be an old copy of itself.

use std::time::Instant;

use pgha_core::{RaftId, Settings};

use super::harness::Cluster;

/// Three members, of which one follower was started again and nobody vouches for it; the leader, then
/// that one, then the third.
fn one_in_doubt() -> (Cluster, [u64; 3]) {
    let mut cluster = Cluster::formed(3);
    let leader = cluster.wait_for_leader();
    let (doubted, third) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    cluster.kill(doubted);
    cluster.options.in_doubt = true;
    cluster.start(doubted);
    (cluster, [leader, doubted, third])
}

fn follows(cluster: &Cluster, member: u64, leader: u64) {
    cluster.wait_role(member, "follows", |role| {
        let led_by = role.leader.as_ref().map(|leader| leader.raft_id);
        role.quorum_fresh && led_by == Some(RaftId(leader))
    });
}

fn refusal(cluster: &Cluster, from: u64, to: u64) -> String {
    let term = cluster.role(from).term + 100;
    cluster.pre_vote(from, to, term, |_| ()).unwrap().reason
}

#[test]
fn a_store_in_doubt_gives_no_vote_until_somebody_vouches_for_it() {
    let (cluster, [_, doubted, third]) = one_in_doubt();
    let reason = refusal(&cluster, third, doubted);
    assert!(reason.contains("vouched for"), "{reason}");
    cluster.node(doubted).vouched_for();
    let reason = refusal(&cluster, third, doubted);
    assert!(!reason.contains("vouched for"), "{reason}");
}

#[test]
fn a_store_in_doubt_votes_once_it_was_within_reach_for_long() {
    let begun = Instant::now();
    let (mut cluster, [leader, doubted, _]) = one_in_doubt();
    follows(&cluster, doubted, leader);
    cluster.kill(leader);
    cluster.wait_for_other_leader(leader);
    assert!(begun.elapsed() >= Settings::default().start_wait());
    cluster.commits();
}

#[test]
fn a_store_in_doubt_that_nobody_reaches_does_not_stand() {
    let (mut cluster, [leader, doubted, third]) = one_in_doubt();
    cluster.kill(doubted);
    cluster.kill(leader);
    cluster.cut(third, doubted);
    cluster.start(doubted);
    let role = cluster.wait_role(doubted, "knows its term", |role| role.term > 0);
    let term = role.term;
    std::thread::sleep(Settings::default().start_wait() * 2);
    assert_eq!(cluster.role(doubted).term, term, "it stood");
    cluster.node(doubted).vouched_for();
    cluster.wait_role(doubted, "stands", |role| role.term > term);
    cluster.heal();
    cluster.wait_for_leader();
}
