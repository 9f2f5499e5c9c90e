//! The lead moved on purpose.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pgha_core::RaftId;

use super::harness::Cluster;
use crate::{MembershipChange, Peer, ProposeError, TransferError};

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

/// It is an entry like a command.
#[test]
fn a_change_of_the_membership_waits_while_the_lead_is_moved() {
    let mut cluster = Cluster::formed(3);
    let leader = cluster.wait_for_leader();
    cluster.add(4);
    let peer = Peer::from(&cluster.members[&4].formed);
    let change = MembershipChange::AddLearner(RaftId(4), peer);
    let deadline = Duration::from_secs(10);
    let (before, meanwhile) = cluster.on(leader, async move |node| {
        let moving = node.core().proposals.write().await;
        let before = node.core().store.ends().1;
        let changed = node.change_membership(change.clone(), deadline);
        tokio::pin!(changed);
        let early = tokio::time::timeout(Duration::from_millis(300), &mut changed).await;
        assert!(early.is_err(), "{early:?}");
        let meanwhile = node.core().store.ends().1;
        drop(moving);
        changed.await.unwrap();
        (before, meanwhile)
    });
    assert_eq!(before, meanwhile, "an entry was written");
}

/// An entry that the target does not have when it stands costs it the votes of those who have it, and
/// the old leader has stepped down by then: nobody leads until the next election.
#[test]
fn commands_meanwhile_do_not_make_the_target_lose() {
    let cluster = Cluster::formed(3);
    let mut leader = cluster.wait_for_leader();
    let mut moved = 0;
    let ended = AtomicBool::new(false);
    let rounds = 20;
    let propose = || {
        let mut taken = 0;
        while !ended.load(Ordering::SeqCst) {
            let leader = cluster.wait_for_leader();
            taken += u64::from(cluster.propose(leader).is_ok());
        }
        taken
    };
    let taken: u64 = std::thread::scope(|scope| {
        let threads = [(); 3].map(|()| scope.spawn(propose));
        for _ in 0..rounds {
            let to = leader % 3 + 1;
            let outcome = cluster.on(leader, async move |node| {
                node.transfer_leadership(RaftId(to), Duration::from_secs(5))
                    .await
            });
            if outcome.is_err() {
                break;
            }
            cluster.wait_role(to, "leads", |role| role.is_leader && role.quorum_fresh);
            moved += 1;
            leader = to;
        }
        ended.store(true, Ordering::SeqCst);
        let taken = threads.into_iter().map(|thread| thread.join().unwrap());
        taken.sum()
    });
    assert!(taken > rounds, "only {taken} commands were taken");
    // A busy machine may cost an election more; a move that failed ended the loop.
    assert_eq!(moved, rounds, "the lead went elsewhere");
}
