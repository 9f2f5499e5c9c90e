//! A primary's data directory that is removed under it: what it wrote last can still be read.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use pgha_core::TimelineId;
use pgha_postgres::{WalTail, end_of_wal};

use crate::common::{self, LIMIT, Node, installation};

#[test]
fn the_end_of_removed_wal_is_read() {
    common::run(async {
        let (mut node, session) = Node::primary("a").await;
        let client = node.client().await;
        let mut tail = WalTail::new(&node.layout);
        let known = session.flush_lsn(LIMIT).await.unwrap();
        tail.hold(TimelineId(1), known);
        // Over the border of a segment, which the next look finds.
        client
            .batch_execute("CREATE TABLE t (id int); SELECT pg_switch_wal()")
            .await
            .unwrap();
        client
            .batch_execute("INSERT INTO t VALUES (1)")
            .await
            .unwrap();
        let known = session.flush_lsn(LIMIT).await.unwrap();
        tail.hold(TimelineId(1), known);
        client
            .batch_execute("INSERT INTO t SELECT generate_series(2, 1000)")
            .await
            .unwrap();
        let acknowledged = session.flush_lsn(LIMIT).await.unwrap();
        assert!(acknowledged > known);
        drop((session, client));
        node.stop(Signal::SIGQUIT).await;

        let data_dir = &node.layout.data_dir;
        let end = end_of_wal(&installation(), data_dir, TimelineId(1), known).unwrap();
        assert!(end >= acknowledged, "{end} {acknowledged}");
        fs::remove_dir_all(data_dir).unwrap();
        let held = tail.end(&installation(), TimelineId(1), known).unwrap();
        assert_eq!(held, end);

        let nothing = WalTail::new(&node.layout);
        let refused = nothing.end(&installation(), TimelineId(1), known);
        assert!(refused.is_err(), "{refused:?}");
    });
}

/// pg_waldump waits five seconds for a segment that was not begun, and the choice of the next primary does
/// not wait for whoever has not answered by then.
#[test]
fn wal_that_ends_with_a_full_segment_is_read_at_once() {
    common::run(async {
        let (mut node, session) = Node::primary("a").await;
        let client = node.client().await;
        let before = session.flush_lsn(LIMIT).await.unwrap();
        client
            .batch_execute("CREATE TABLE t (id int); SELECT pg_switch_wal()")
            .await
            .unwrap();
        drop(client);
        let known = session.flush_lsn(LIMIT).await.unwrap();
        drop(session);
        node.stop(Signal::SIGQUIT).await;
        for from in [before, known] {
            let begun = Instant::now();
            let end = end_of_wal(&installation(), &node.layout.data_dir, TimelineId(1), from);
            assert!(end.unwrap() >= known, "from {from}");
            assert!(begun.elapsed() < Duration::from_secs(4), "from {from}");
        }
    });
}
