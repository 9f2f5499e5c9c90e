//! Members that come when the log they need is gone.

use std::time::Duration;

use pgha_core::RaftId;

use super::harness::Cluster;
use crate::{MembershipChange, Options, Peer};

#[test]
fn a_member_that_was_away_and_a_new_one_get_a_snapshot() {
    let options = Options {
        snapshot_every: 20,
        ..Options::default()
    };
    let mut cluster = Cluster::new(3, options);
    cluster.start_all();
    cluster.initialize(1);
    let leader = cluster.wait_for_leader();
    let away = leader % 3 + 1;
    cluster.commits();
    cluster.kill(away);
    for _ in 0..600 {
        cluster.commits();
    }
    let applied = cluster.role(leader).applied;
    let purged = cluster.node(leader).store().ends().0.unwrap();
    assert!(purged.index > 100, "nothing was purged: {purged}");

    cluster.start(away);
    cluster.wait_applied(away, applied);
    let first = cluster.node(away).store().ends().0.unwrap().index;
    assert!(first > 1, "it got the log entry by entry");

    cluster.add(4);
    cluster.start(4);
    let peer = Peer::from(&cluster.members[&4].formed);
    let change = MembershipChange::AddLearner(RaftId(4), peer);
    cluster
        .on(leader, async |node| {
            node.change_membership(change, Duration::from_secs(10))
                .await
        })
        .unwrap();
    cluster.wait_applied(4, applied);
    let theirs = cluster.node(4).state().borrow().clone();
    let ours = cluster.node(leader).state().borrow().clone();
    assert_eq!(theirs.state, ours.state);

    // From the file, after a restart.
    cluster.kill(4);
    cluster.start(4);
    cluster.wait_applied(4, applied);
}
