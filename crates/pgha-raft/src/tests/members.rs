//! Members that come, get a vote, are replaced and leave.

use std::collections::BTreeSet;
use std::time::Duration;

use pgha_core::RaftId;

use super::harness::Cluster;
use crate::{MembershipChange, MembershipError, Peer, ProposeError};

const DEADLINE: Duration = Duration::from_secs(10);

fn change(cluster: &Cluster, leader: u64, change: MembershipChange) -> Result<(), MembershipError> {
    cluster.on(leader, async move |node| {
        node.change_membership(change, DEADLINE).await
    })
}

fn ids(ids: &[u64]) -> BTreeSet<RaftId> {
    ids.iter().copied().map(RaftId).collect()
}

fn peer(cluster: &Cluster, id: u64) -> Peer {
    Peer::from(&cluster.members[&id].formed)
}

#[test]
fn a_learner_follows_then_votes_then_leaves() {
    let mut cluster = Cluster::formed(3);
    let leader = cluster.wait_for_leader();
    for _ in 0..20 {
        cluster.commits();
    }
    cluster.add(4);
    cluster.start(4);
    let new = peer(&cluster, 4);
    change(
        &cluster,
        leader,
        MembershipChange::AddLearner(RaftId(4), new.clone()),
    )
    .unwrap();
    // Ordered twice, as after a lost answer.
    change(
        &cluster,
        leader,
        MembershipChange::AddLearner(RaftId(4), new.clone()),
    )
    .unwrap();
    let role = cluster.wait_role(4, "learns", |role| {
        role.learners == ids(&[4]) && role.is_caught_up()
    });
    assert!(!role.i_am_voter);
    let stranger = Peer {
        store_id: "another".into(),
        ..new
    };
    let taken = change(
        &cluster,
        leader,
        MembershipChange::AddLearner(RaftId(4), stranger),
    );
    assert_eq!(taken, Err(MembershipError::IdTaken(RaftId(4))));

    change(&cluster, leader, MembershipChange::Promote(RaftId(4))).unwrap();
    let all = vec![ids(&[1, 2, 3, 4])];
    cluster.wait_role(4, "votes", |role| {
        role.effective_voters == all && role.committed_voters == all
    });
    let stranger = change(&cluster, leader, MembershipChange::Promote(RaftId(9)));
    assert_eq!(stranger, Err(MembershipError::NotMember(RaftId(9))));

    change(&cluster, leader, MembershipChange::Remove(RaftId(4))).unwrap();
    let role = cluster.wait_role(leader, "three again", |role| {
        role.effective_voters == vec![ids(&[1, 2, 3])]
    });
    assert!(role.learners.is_empty() && role.members.len() == 3);
    let own = change(&cluster, leader, MembershipChange::Remove(RaftId(leader)));
    assert_eq!(own, Err(MembershipError::IsLeader(RaftId(leader))));
    let follower = leader % 3 + 1;
    let elsewhere = change(&cluster, follower, MembershipChange::Remove(RaftId(leader)));
    assert!(matches!(
        elsewhere,
        Err(MembershipError::Propose(ProposeError::NotLeader { .. }))
    ));
}

#[test]
fn a_member_with_a_new_store_takes_the_place_of_its_old_self() {
    let mut cluster = Cluster::formed(3);
    let leader = cluster.wait_for_leader();
    let lost = leader % 3 + 1;
    cluster.kill(lost);
    cluster.add(4);
    cluster.start(4);
    let replace = MembershipChange::Replace {
        old: RaftId(lost),
        new: RaftId(4),
        peer: peer(&cluster, 4),
    };
    change(&cluster, leader, replace.clone()).unwrap();
    let role = cluster.wait_role(4, "votes, and nothing is joint any more", |role| {
        role.i_am_voter && role.effective_voters.len() == 1
    });
    assert!(!role.members.contains_key(&RaftId(lost)));
    assert_eq!(role.voters.len(), 3);
    // Ordered again, as after a lost answer.
    change(&cluster, leader, replace).unwrap();
    cluster.commits();

    // Two of three are there; the last but one must not go.
    let third = (1..=3).find(|&id| id != leader && id != lost).unwrap();
    cluster.kill(third);
    std::thread::sleep(cluster.options.lease);
    let refused = change(&cluster, leader, MembershipChange::Remove(RaftId(4)));
    match refused {
        Err(MembershipError::LosesQuorum { voters, alive }) => {
            assert_eq!(voters, ids(&[leader, third]));
            assert_eq!(alive, ids(&[leader]));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_voter_to_be_that_never_comes_stays_a_learner() {
    let mut cluster = Cluster::formed(3);
    let leader = cluster.wait_for_leader();
    cluster.add(4);
    let absent = peer(&cluster, 4);
    change(
        &cluster,
        leader,
        MembershipChange::AddLearner(RaftId(4), absent),
    )
    .unwrap();
    let deadline = Duration::from_secs(2);
    let outcome = cluster.on(leader, async move |node| {
        node.change_membership(MembershipChange::Promote(RaftId(4)), deadline)
            .await
    });
    assert!(
        matches!(outcome, Err(MembershipError::Behind { .. })),
        "{outcome:?}"
    );
    assert_eq!(cluster.role(leader).voters, ids(&[1, 2, 3]));
    change(&cluster, leader, MembershipChange::Remove(RaftId(4))).unwrap();
    assert_eq!(cluster.role(leader).members.len(), 3);
}
