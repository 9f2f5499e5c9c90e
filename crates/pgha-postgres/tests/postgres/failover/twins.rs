//! Two lines of history that PostgreSQL cannot tell apart.

use nix::sys::signal::Signal;
use pgha_core::{ForkId, TimelineId};
use pgha_postgres::job::{JobOutcome, rewind};
use pgha_postgres::{DataDirectory, Displace, timeline};

use crate::common::{self, LIMIT, Node, caught_up, installation};

/// M15: two standbys promoted from the same point. PostgreSQL gives them the same number and the
/// same history; the fork rows tell them apart.
#[test]
fn twins_are_told_apart() {
    common::run(async {
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
        let left = timeline::departures(&b.layout.data_dir, two);
        let read = timeline::read_history(&b.layout.data_dir, two).unwrap();
        assert_eq!(left, read.iter().map(|a| (a.timeline, a.switch)).collect());
        assert_eq!(left.len(), 1);
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
