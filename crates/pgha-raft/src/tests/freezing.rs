//! Members in processes of their own, frozen and continued.

use std::time::Duration;

use nix::sys::signal::Signal;
use pgha_core::RaftId;

use super::harness::Cluster;
use super::process::Process;
use crate::Options;

#[test]
fn a_follower_that_thaws_does_not_take_the_lead() {
    let mut cluster = Cluster::new(3, Options::default());
    let frozen = Process::start(&cluster, 3);
    cluster.start(1);
    cluster.start(2);
    cluster.initialize(1);
    let leader = cluster.wait_for_leader();
    cluster.commits();
    let term = cluster.role(leader).term;
    for _ in 0..6 {
        frozen.signal(Signal::SIGSTOP);
        cluster.assert_stays(leader, term, Duration::from_millis(1200));
        frozen.signal(Signal::SIGCONT);
        cluster.assert_stays(leader, term, Duration::from_millis(1500));
    }
    cluster.commits();
}

/// It believes in its lead when it thaws; the handover of the next round shows that it follows.
#[test]
fn a_leader_that_thaws_follows_the_one_elected_meanwhile() {
    const FROZEN: u64 = 3;
    let mut cluster = Cluster::new(3, Options::default());
    let process = Process::start(&cluster, FROZEN);
    cluster.start(1);
    cluster.start(2);
    cluster.initialize(1);
    for _ in 0..3 {
        give_lead(&cluster, FROZEN);
        process.signal(Signal::SIGSTOP);
        let new = cluster.wait_for_other_leader(FROZEN);
        cluster.commits();
        let term = cluster.role(new).term;
        process.signal(Signal::SIGCONT);
        cluster.assert_stays(new, term, Duration::from_millis(1500));
    }
    give_lead(&cluster, FROZEN);
}

/// Has the lead moved to a member that runs in another process, unless it has it.
fn give_lead(cluster: &Cluster, to: u64) {
    let to = RaftId(to);
    let role = cluster.wait_role(1, "knows a leader", |role| {
        role.quorum_fresh && role.leader.is_some()
    });
    let leader = role.leader.map(|leader| leader.raft_id);
    if let Some(RaftId(leader)) = leader.filter(|leader| *leader != to) {
        let moved = cluster.on(leader, async move |node| {
            node.transfer_leadership(to, Duration::from_secs(5)).await
        });
        moved.unwrap_or_else(|error| panic!("n{leader} keeps the lead: {error}"));
    }
    for id in cluster.running() {
        cluster.wait_role(id, "follows the new leader", |role| {
            role.leader.as_ref().is_some_and(|l| l.raft_id == to) && role.quorum_fresh
        });
    }
}
