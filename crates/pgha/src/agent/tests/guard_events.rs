//! What the guard refuses, and what is left of one that is gone.

use pgha_core::decide::Tree;
use pgha_guard::{self as guard, EmptyCause, EmptyReport, clock};

use super::rig::{EPOCH, Rig};
use crate::agent::Event;

/// Another order is refused only because the start, sent before it, has not come to the guard yet: a
/// PostgreSQL that is about to run must not count as none.
#[tokio::test]
async fn only_a_refused_start_is_a_failed_start() {
    let mut rig = Rig::new().await;
    rig.starts_primary();
    for order in ["ack", "assume", "empty", "route", "signal"] {
        rig.refuses(order);
        let local = &rig.agent.local;
        assert!(local.starting, "{order}");
        assert!(matches!(local.tree, Tree::Primary { .. }), "{order}");
        assert_eq!(local.start_failures.count, 0, "{order}");
    }
    rig.refuses("start");
    let local = &rig.agent.local;
    assert!(!local.starting);
    assert_eq!(local.tree, Tree::Empty);
    assert_eq!(local.start_failures.count, 1);
}

#[tokio::test]
async fn a_tree_that_runs_is_not_taken_for_none_by_a_refusal() {
    let mut rig = Rig::new().await;
    rig.starts_primary();
    rig.has_started();
    rig.refuses("start");
    let local = &rig.agent.local;
    assert!(matches!(local.tree, Tree::Primary { .. }));
    assert_eq!(local.start_failures.count, 0);
}

/// A guard that is forgotten after the first failure leaves a tree that nobody ever proves empty.
#[tokio::test]
async fn what_a_dead_guard_left_is_killed_again_until_it_is_gone() {
    let mut rig = Rig::new().await;
    rig.starts_primary();
    rig.has_started();
    rig.agent.bury_guard();
    let killed = rig.next_event().await;
    assert!(matches!(killed, Event::Emptied(Ok(()))), "{killed:?}");

    // Said of a process that outlives SIGKILL, which no test can make.
    rig.agent.take(Event::Emptied(Err("it is left".to_owned())));
    assert!(rig.agent.guard.is_some(), "forgotten with its tree");
    assert!(rig.agent.busy.guard, "not tried again");
    assert!(matches!(rig.agent.local.tree, Tree::Primary { .. }));

    let killed = rig.next_event().await;
    rig.agent.take(killed);
    assert!(rig.agent.guard.is_none());
    assert!(!rig.agent.busy.guard);
    assert_eq!(rig.agent.local.tree, Tree::Empty);
}

/// Its last words wait in the queue when the next guard already runs a tree.
#[tokio::test]
async fn a_buried_guard_says_nothing_about_the_next_ones_tree() {
    let mut rig = Rig::new().await;
    rig.starts_primary();
    rig.has_started();
    rig.agent.bury_guard();
    let killed = rig.next_event().await;
    let buried = rig.agent.guard_number;
    rig.agent.take(killed);

    rig.starts_primary();
    rig.has_started();
    rig.agent.take(Event::Guard(buried, empty()));
    assert!(matches!(rig.agent.local.tree, Tree::Primary { .. }));
    rig.says(empty());
    assert_eq!(rig.agent.local.tree, Tree::Empty);
}

fn empty() -> guard::Event {
    guard::Event::Empty(EmptyReport {
        epoch: EPOCH,
        secret: None,
        cause: EmptyCause::PostmasterExited,
        seen_at: clock::now(),
        seen_to_fenced_us: 1,
        seen_to_empty_us: 2,
    })
}
