//! Cut, promote, follow, rewind: the sequence of a failover on real PostgreSQL servers.

mod common;

use std::collections::BTreeSet;

use common::{LIMIT, Node, caught_up, count, installation, until};
use nix::sys::signal::Signal;
use pgha_core::{ForkId, Lsn, TimelineId};
use pgha_postgres::config::RecoveryTimeline;
use pgha_postgres::job::{JobOutcome, rewind};
use pgha_postgres::session::{EndOfWal, PromoteError, SessionFilter, SlotSpec};
use pgha_postgres::{DataDirectory, Displace, Marker, rewound_to, timeline};

#[test]
fn a_whole_failover() {
    common::run("a_whole_failover", async {
        let (mut a, mut on_a) = Node::primary("a").await;
        let client = a.client().await;
        client
            .batch_execute("CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
            .await
            .unwrap();
        let (mut b, mut on_b) = Node::standby("b", &a).await;
        let (mut c, mut on_c) = Node::standby("c", &a).await;

        let probe = until(&a, &mut on_a, "two standbys", |probe| {
            probe
                .walsenders
                .iter()
                .filter(|sender| sender.state == "streaming")
                .count()
                == 2
        })
        .await;
        let names: BTreeSet<_> = probe
            .walsenders
            .iter()
            .map(|s| s.application_name.as_str())
            .collect();
        assert_eq!(names, BTreeSet::from(["b", "c"]));
        let probe = caught_up(&on_a, &b, &mut on_b).await;
        let receiver = probe.receiver.unwrap();
        assert_eq!(
            (receiver.status.as_str(), receiver.port),
            ("streaming", Some(a.port))
        );
        assert_eq!((probe.in_recovery, probe.timeline), (true, TimelineId(1)));
        caught_up(&on_a, &c, &mut on_c).await;

        // Revoke: nothing that the old primary still writes may arrive any more.
        for (node, session) in [(&mut b, &mut on_b), (&mut c, &mut on_c)] {
            let started = std::time::Instant::now();
            session
                .cut_receiver(&node.layout.data_dir, &mut node.settings, LIMIT)
                .await
                .unwrap();
            println!("cut of {} took {:?}", node.name, started.elapsed());
            assert!(session.probe(LIMIT).await.unwrap().receiver.is_none());
        }
        let end = on_b.end_of_wal(LIMIT).await.unwrap();
        client
            .batch_execute("INSERT INTO t SELECT generate_series(100, 2000)")
            .await
            .unwrap();
        assert_eq!(on_b.end_of_wal(LIMIT).await.unwrap(), end);
        let EndOfWal::Known(end) = end else {
            panic!("{end:?}")
        };
        a.stop(Signal::SIGQUIT).await;

        // Promote to an assigned number, with slots made before.
        let slots = [SlotSpec {
            name: "pgha_t4_c".into(),
            keep_from: Some(end),
        }];
        let made = on_b.ensure_slots(&slots, LIMIT).await.unwrap();
        assert!(made[0].restart.unwrap() > Lsn::ZERO);
        let started = std::time::Instant::now();
        let fork_lsn = on_b
            .promote(&b.layout.data_dir, TimelineId(1), TimelineId(4), LIMIT)
            .await
            .unwrap();
        println!("promotion took {:?}", started.elapsed());
        assert!(fork_lsn <= end);
        let fork = ForkId::from("3f2a-b1");
        let after = on_b
            .create_fork_row(TimelineId(4), &fork, LIMIT)
            .await
            .unwrap();
        assert!(
            on_b.create_fork_row(TimelineId(4), &fork, LIMIT)
                .await
                .unwrap()
                >= after
        );
        // The control file lags behind; the probe does not.
        let probe = on_b.probe(LIMIT).await.unwrap();
        assert_eq!((probe.in_recovery, probe.timeline), (false, TimelineId(4)));
        for number in [2, 3] {
            let path = timeline::history_path(&b.layout.data_dir, TimelineId(number));
            assert_eq!(std::fs::metadata(path).unwrap().len(), 0);
        }
        let again = on_b
            .promote(&b.layout.data_dir, TimelineId(4), TimelineId(5), LIMIT)
            .await;
        assert!(matches!(
            again,
            Err(PromoteError::NotInRecovery {
                timeline: TimelineId(4)
            })
        ));

        // The other follows, through its slot.
        let upstream = c.upstream(&b, Some("pgha_t4_c"));
        let started = std::time::Instant::now();
        on_c.set_upstream(&c.layout.data_dir, &mut c.settings, Some(upstream), LIMIT)
            .await
            .unwrap();
        let probe = caught_up(&on_b, &c, &mut on_c).await;
        println!("repoint took {:?}", started.elapsed());
        assert_eq!(probe.timeline, TimelineId(4));
        assert_eq!(
            on_c.fork_rows(LIMIT).await.unwrap(),
            [(TimelineId(4), fork.clone())]
        );
        let slot = on_b.probe(LIMIT).await.unwrap().slots.pop().unwrap();
        assert!(slot.active_pid.is_some() && slot.physical, "{slot:?}");

        // The old primary comes back, ahead on its own line: rewound, it follows.
        on_b.checkpoint(LIMIT).await.unwrap();
        let mut job = rewind(installation(), a.layout.clone(), a.rewind_options(b.port));
        let outcome = job.wait().await.unwrap();
        let JobOutcome::Rewound {
            diverged: Some((diverged, on)),
        } = outcome
        else {
            panic!("{outcome:?}")
        };
        assert_eq!((diverged, on), (fork_lsn, TimelineId(1)));
        assert!(!Marker::stands(&a.layout.run_dir).unwrap());
        let epoch = a.rewind_options(b.port).epoch;
        assert_eq!(rewound_to(&a.layout.run_dir).unwrap(), Some(epoch));
        a.settings.upstream = Some(a.upstream(&b, None));
        let mut on_a = a.start_standby().await;
        caught_up(&on_b, &a, &mut on_a).await;
        assert_eq!(on_a.probe(LIMIT).await.unwrap().timeline, TimelineId(4));
        assert_eq!(count(&a.client().await, "t").await, 1);

        // Slots of the past go, others stay.
        b.client()
            .await
            .batch_execute("SELECT pg_create_physical_replication_slot('users_own')")
            .await
            .unwrap();
        let dropped = on_b
            .drop_slots_except("pgha_", &BTreeSet::new(), LIMIT)
            .await
            .unwrap();
        assert_eq!(dropped, ["pgha_t4_c"]);
        let left: Vec<_> = on_b
            .probe(LIMIT)
            .await
            .unwrap()
            .slots
            .into_iter()
            .map(|s| s.name)
            .collect();
        assert_eq!(left, ["users_own"]);
    });
}

/// M21: after a restart nothing was received; the end of WAL is where replay has read it all. That
/// may be less than was received, by a record that came in part, but never less than a commit.
#[test]
fn the_end_of_wal_survives_a_restart() {
    common::run("the_end_of_wal_survives_a_restart", async {
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
    common::run("a_promotion_that_did_not_happen_is_taken_back", async {
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

/// M15: two standbys promoted from the same point. PostgreSQL gives them the same number and the
/// same history; the fork rows tell them apart.
#[test]
fn twins_are_told_apart() {
    common::run("twins_are_told_apart", async {
        let (mut a, on_a) = Node::primary("a").await;
        let (mut b, mut on_b) = Node::standby("b", &a).await;
        let (mut c, mut on_c) = Node::standby("c", &a).await;
        caught_up(&on_a, &b, &mut on_b).await;
        caught_up(&on_a, &c, &mut on_c).await;
        on_b.cut_receiver(&b.layout.data_dir, &mut b.settings, LIMIT)
            .await
            .unwrap();
        on_c.cut_receiver(&c.layout.data_dir, &mut c.settings, LIMIT)
            .await
            .unwrap();
        a.stop(Signal::SIGQUIT).await;

        let two = TimelineId(2);
        on_b.promote(&b.layout.data_dir, TimelineId(1), two, LIMIT)
            .await
            .unwrap();
        on_c.promote(&c.layout.data_dir, TimelineId(1), two, LIMIT)
            .await
            .unwrap();
        let history = |node: &Node| {
            std::fs::read(timeline::history_path(&node.layout.data_dir, two)).unwrap()
        };
        assert_eq!(history(&b), history(&c));
        on_b.create_fork_row(two, &"of-b".into(), LIMIT)
            .await
            .unwrap();
        on_c.create_fork_row(two, &"of-c".into(), LIMIT)
            .await
            .unwrap();
        let (rows_b, rows_c) = (
            on_b.fork_rows(LIMIT).await.unwrap(),
            on_c.fork_rows(LIMIT).await.unwrap(),
        );
        assert_eq!(rows_b, [(two, ForkId::from("of-b"))]);
        assert_ne!(rows_b, rows_c);

        // pg_rewind sees nothing to do: its answer alone must not be believed.
        on_c.checkpoint(LIMIT).await.unwrap();
        drop(on_b);
        b.stop(Signal::SIGINT).await;
        let mut job = rewind(installation(), b.layout.clone(), b.rewind_options(c.port));
        assert_eq!(job.wait().await.unwrap(), JobOutcome::RewindNotNeeded);
        // A clone does help; the twin is kept aside.
        let mut job =
            pgha_postgres::job::clone(installation(), b.layout.clone(), b.clone_options(c.port));
        let JobOutcome::Cloned { aside: Some(aside) } = job.wait().await.unwrap() else {
            panic!()
        };
        let kept = DataDirectory::inspect(&installation(), &aside).unwrap();
        assert!(matches!(kept, DataDirectory::Cluster(_)));
        b.settings.upstream = Some(b.upstream(&c, None));
        let mut on_b = b.start_standby().await;
        caught_up(&on_c, &b, &mut on_b).await;
        assert_eq!(on_b.fork_rows(LIMIT).await.unwrap(), rows_c);
        drop(on_b);
        b.stop(Signal::SIGINT).await;
        let mut options = b.clone_options(c.port);
        options.displace = Displace::Delete;
        let mut job = pgha_postgres::job::clone(installation(), b.layout.clone(), options);
        assert_eq!(
            job.wait().await.unwrap(),
            JobOutcome::Cloned { aside: None }
        );
        assert!(!aside.exists());
    });
}

/// M23: a reader holds what replay needs. The receiver is cut all the same, and the promotion
/// ends the reader.
#[test]
fn a_conflicting_reader_stops_neither_cut_nor_promotion() {
    common::run(
        "a_conflicting_reader_stops_neither_cut_nor_promotion",
        async {
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
        },
    );
}

/// The same by rows: vacuum removed what the reader still sees. Nobody tells who is in the way.
#[test]
fn a_reader_of_removed_rows_does_not_stop_a_promotion() {
    common::run(
        "a_reader_of_removed_rows_does_not_stop_a_promotion",
        async {
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
                .batch_execute(
                    "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class",
                )
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
        },
    );
}
