//! The whole sequence: cut, promote, follow, rewind.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use pgha_core::{ForkId, Lsn, TimelineId};
use pgha_postgres::job::{JobOutcome, rewind};
use pgha_postgres::session::{EndOfWal, PromoteError, SlotSpec};
use pgha_postgres::{Marker, rewound_to, timeline};

use crate::common::{self, LIMIT, Node, caught_up, count, installation, until};

#[test]
fn a_whole_failover() {
    common::run(async {
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
