//! What a restart in the middle of a failover leaves as it was.

use nix::sys::signal::Signal;
use pgha_core::{Lsn, TimelineId};
use pgha_postgres::config::RecoveryTimeline;
use pgha_postgres::session::EndOfWal;
use pgha_postgres::timeline;

use crate::common::{self, LIMIT, Node, caught_up, until};

/// M21: after a restart nothing was received; the end of WAL is where replay has read it all. That
/// may be less than was received, by a record that came in part, but never less than a commit.
#[test]
fn the_end_of_wal_survives_a_restart() {
    common::run(async {
        let (a, _on_a) = Node::primary("a").await;
        let (mut b, mut on_b) = Node::standby("b", &a).await;
        let client = a.client().await;
        let insert = "CREATE TABLE t AS SELECT generate_series(1, 5000) AS id";
        client.batch_execute(insert).await.unwrap();
        let row = client
            .query_one("SELECT pg_current_wal_lsn()::text", &[])
            .await
            .unwrap();
        let written: Lsn = row.get::<_, &str>(0).parse().unwrap();
        until(&b, &mut on_b, "the commit", |probe| {
            probe.replay >= Some(written)
        })
        .await;
        on_b.cut_receiver(&b.layout.data_dir, &mut b.settings, LIMIT)
            .await
            .unwrap();
        let EndOfWal::Known(received) = on_b.end_of_wal(LIMIT).await.unwrap() else {
            panic!()
        };
        let read_all = |probe: &pgha_postgres::Probe| {
            probe.startup_wait.as_deref() == Some("RecoveryRetrieveRetryInterval")
        };
        until(&b, &mut on_b, "end of replay", read_all).await;
        let records = on_b.end_of_records(LIMIT).await.unwrap().unwrap();
        assert!(
            written <= records && records <= received,
            "{written} {records} {received}"
        );
        drop(on_b);
        b.stop(Signal::SIGQUIT).await;
        let mut on_b = b.start_standby().await;
        let probe = until(&b, &mut on_b, "end of replay", read_all).await;
        assert_eq!((probe.receive, probe.timeline), (None, TimelineId(1)));
        assert_eq!(
            on_b.end_of_wal(LIMIT).await.unwrap(),
            EndOfWal::Known(records)
        );
        assert_eq!(on_b.end_of_records(LIMIT).await.unwrap(), Some(records));
    });
}

/// A promotion that was prepared and did not happen leaves empty history files; a start with
/// `latest` would take one of them for its target.
#[test]
fn a_promotion_that_did_not_happen_is_taken_back() {
    common::run(async {
        let (a, on_a) = Node::primary("a").await;
        let (mut b, mut on_b) = Node::standby("b", &a).await;
        caught_up(&on_a, &b, &mut on_b).await;
        drop(on_b);
        b.stop(Signal::SIGINT).await;
        let data_dir = b.layout.data_dir.clone();
        timeline::block_timelines(&data_dir, TimelineId(1), TimelineId(4)).unwrap();

        // Pinned to its own timeline it starts, files or not.
        b.settings.recovery_timeline = RecoveryTimeline::Pinned(TimelineId(1));
        let mut on_b = b.start_standby().await;
        caught_up(&on_a, &b, &mut on_b).await;
        drop(on_b);
        b.stop(Signal::SIGINT).await;

        let removed = timeline::unblock_timelines(&data_dir, TimelineId(1)).unwrap();
        assert_eq!(removed, [TimelineId(2), TimelineId(3)]);
        b.settings.recovery_timeline = RecoveryTimeline::Latest;
        let mut on_b = b.start_standby().await;
        caught_up(&on_a, &b, &mut on_b).await;
    });
}
