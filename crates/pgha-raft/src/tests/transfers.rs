//! The lead moved on purpose.

use std::time::{Duration, Instant};

use pgha_core::RaftId;

use super::harness::Cluster;
use crate::{ProposeError, TransferError};

fn move_around(size: u64, rounds: u64) {
    let cluster = Cluster::formed(size);
    let mut leader = cluster.wait_for_leader();
    let mut times = Vec::new();
    for round in 0..rounds {
        let to = (leader + round % (size - 1)) % size + 1;
        if to == leader {
            continue;
        }
        let begun = Instant::now();
        let moved = cluster.on(leader, async move |node| {
            node.transfer_leadership(RaftId(to), Duration::from_secs(5))
                .await
        });
        moved.unwrap_or_else(|error| panic!("round {round}: {error}"));
        times.push(begun.elapsed());
        cluster.wait_role(to, "leads", |role| role.is_leader && role.quorum_fresh);
        cluster.commits();
        leader = to;
    }
    println!("lead moved among {size}: {times:?}");
}

#[test]
fn moves_among_three() {
    move_around(3, 10);
}

#[test]
fn moves_among_five() {
    move_around(5, 6);
}

#[test]
fn refuses_what_cannot_lead() {
    let cluster = Cluster::formed(3);
    let leader = cluster.wait_for_leader();
    let to = |id: u64, from: u64| {
        cluster.on(from, async move |node| {
            node.transfer_leadership(RaftId(id), Duration::from_secs(2))
                .await
        })
    };
    assert_eq!(to(9, leader), Err(TransferError::NotVoter(RaftId(9))));
    assert_eq!(to(leader, leader), Ok(()));
    let follower = leader % 3 + 1;
    assert!(matches!(
        to(leader, follower),
        Err(TransferError::NotLeading(ProposeError::NotLeader { .. }))
    ));
}

#[test]
fn a_target_that_is_away_costs_a_pause_and_not_the_lead() {
    let mut cluster = Cluster::formed(3);
    let leader = cluster.wait_for_leader();
    let target = leader % 3 + 1;
    cluster.kill(target);
    let outcome = cluster.on(leader, async move |node| {
        node.transfer_leadership(RaftId(target), Duration::from_secs(1))
            .await
    });
    assert!(
        matches!(outcome, Err(TransferError::TimedOut { .. })),
        "{outcome:?}"
    );
    cluster.wait_for_leader();
    cluster.commits();
}
