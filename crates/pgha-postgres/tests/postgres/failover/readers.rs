//! Clients' reads on the standby that is promoted.

use nix::sys::signal::Signal;
use pgha_core::TimelineId;
use pgha_postgres::session::{EndOfWal, SessionFilter};

use crate::common::{self, LIMIT, Node, caught_up, count, until};

/// M23: a reader holds what replay needs. The receiver is cut all the same, and the promotion
/// ends the reader.
#[test]
fn a_conflicting_reader_stops_neither_cut_nor_promotion() {
    common::run(async {
        let (mut a, on_a) = Node::primary("a").await;
        let (mut b, mut on_b) = Node::standby("b", &a).await;
        let client = a.client().await;
        client
            .batch_execute("CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
            .await
            .unwrap();
        caught_up(&on_a, &b, &mut on_b).await;

        let reader = b.client().await;
        reader
            .batch_execute("BEGIN; SELECT * FROM t")
            .await
            .unwrap();
        client
            .batch_execute("ALTER TABLE t ADD COLUMN more int; INSERT INTO t VALUES (2, 2)")
            .await
            .unwrap();
        let end = on_a.flush_lsn(LIMIT).await.unwrap();
        until(&b, &mut on_b, "a blocked replay", |probe| {
            probe.receive >= Some(end)
                && probe.replay < Some(end)
                && probe.startup_wait.as_deref() == Some("relation")
        })
        .await;

        let started = std::time::Instant::now();
        on_b.cut_receiver(&b.layout.data_dir, &mut b.settings, LIMIT)
            .await
            .unwrap();
        println!("cut behind a reader took {:?}", started.elapsed());
        // The reload alone leaves it alive here, and it would go on receiving.
        assert!(on_b.probe(LIMIT).await.unwrap().receiver.is_none());
        let received = on_b.end_of_wal(LIMIT).await.unwrap();
        assert!(
            matches!(received, EndOfWal::Known(at) if at >= end),
            "{received:?}, {end}"
        );
        a.stop(Signal::SIGQUIT).await;
        let started = std::time::Instant::now();
        on_b.promote(&b.layout.data_dir, TimelineId(1), TimelineId(2), LIMIT)
            .await
            .unwrap();
        println!("promotion past a reader took {:?}", started.elapsed());
        assert!(reader.batch_execute("SELECT 1").await.is_err());
        assert_eq!(count(&b.client().await, "t").await, 2);
    });
}

/// The same by rows: vacuum removed what the reader still sees. Nobody tells who is in the way.
#[test]
fn a_reader_of_removed_rows_does_not_stop_a_promotion() {
    common::run(async {
        let (mut a, on_a) = Node::primary("a").await;
        let (mut b, mut on_b) = Node::standby("b", &a).await;
        let client = a.client().await;
        client
            .batch_execute("CREATE TABLE t AS SELECT generate_series(1, 2000) AS id")
            .await
            .unwrap();
        caught_up(&on_a, &b, &mut on_b).await;
        let reader = b.client().await;
        reader
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class")
            .await
            .unwrap();
        let idle = b.client().await;
        idle.batch_execute("SELECT 1").await.unwrap();
        client
            .batch_execute("DELETE FROM t WHERE id % 2 = 0")
            .await
            .unwrap();
        client
            .batch_execute("VACUUM (TRUNCATE off) t")
            .await
            .unwrap();
        until(&b, &mut on_b, "a snapshot conflict", |probe| {
            probe
                .startup_wait
                .as_deref()
                .is_some_and(|wait| wait.starts_with("RecoveryConflict"))
        })
        .await;
        on_b.cut_receiver(&b.layout.data_dir, &mut b.settings, LIMIT)
            .await
            .unwrap();
        a.stop(Signal::SIGQUIT).await;
        on_b.promote(&b.layout.data_dir, TimelineId(1), TimelineId(2), LIMIT)
            .await
            .unwrap();
        assert!(reader.batch_execute("SELECT 1").await.is_err());
        idle.batch_execute("SELECT 1").await.unwrap();
        let ended = on_b
            .terminate_sessions(&SessionFilter::Clients, LIMIT)
            .await
            .unwrap();
        assert_eq!(ended, 1);
    });
}
