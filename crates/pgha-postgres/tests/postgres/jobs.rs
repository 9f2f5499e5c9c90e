//! Clones and rewinds that do not come to their end.

use std::time::Duration;

use nix::sys::signal::Signal;
use pgha_core::Epoch;
use pgha_postgres::job::{JobError, JobOutcome, clone, rewind};
use pgha_postgres::{DataDirectory, JobKind, Marker};
use tokio::time::Instant;

use crate::common::{self, LIMIT, Node, caught_up, installation};

/// A primary with enough in it that a copy takes a while, and takes it slowly.
async fn big_primary() -> (Node, pgha_postgres::Session) {
    let (node, session) = Node::primary("a").await;
    node.client()
        .await
        .batch_execute("CREATE TABLE big AS SELECT g, repeat('x', 900) AS x FROM generate_series(1, 60000) AS g")
        .await
        .unwrap();
    (node, session)
}

fn processes_with(argument: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(argument) {
            found.push(line);
        }
    }
    found
}

#[test]
fn a_cancelled_clone_leaves_what_was_there() {
    common::run(async {
        let (a, _on_a) = big_primary().await;
        let (mut b, on_b) = Node::standby("b", &a).await;
        drop(on_b);
        b.stop(Signal::SIGINT).await;
        let before = DataDirectory::inspect(&installation(), &b.layout.data_dir).unwrap();

        let mut job = clone(installation(), b.layout.clone(), b.clone_options(a.port));
        let mut progress = job.progress();
        tokio::time::timeout(LIMIT, progress.wait_for(|now| now.total_bytes > 0))
            .await
            .unwrap()
            .unwrap();
        let marker = Marker::read(&b.layout.run_dir).unwrap().unwrap();
        assert_eq!((marker.kind, marker.epoch), (JobKind::Clone, Epoch(1)));
        assert!(marker.process.is_some());
        job.cancel();
        let error = job.wait().await.unwrap_err();
        assert!(matches!(error, JobError::Cancelled { .. }), "{error}");

        assert!(!Marker::stands(&b.layout.run_dir).unwrap());
        let after = DataDirectory::inspect(&installation(), &b.layout.data_dir).unwrap();
        assert_eq!(before, after);
        let staging = b.layout.data_dir.with_extension("staging");
        assert!(!staging.exists());
        let left = processes_with(&staging.display().to_string());
        assert!(left.is_empty(), "{left:?}");
    });
}

#[test]
fn a_clone_reports_its_progress() {
    common::run(async {
        let (a, on_a) = big_primary().await;
        let mut b = Node::new("b");
        let mut job = clone(installation(), b.layout.clone(), b.clone_options(a.port));
        let progress = job.progress();
        assert_eq!(
            job.wait().await.unwrap(),
            JobOutcome::Cloned { aside: None }
        );
        let last = *progress.borrow();
        assert!(
            last.total_bytes > 50_000_000 && last.done_bytes > 50_000_000,
            "{last:?}"
        );
        b.settings.upstream = Some(b.upstream(&a, None));
        let mut on_b = b.start_standby().await;
        caught_up(&on_a, &b, &mut on_b).await;
    });
}

#[test]
fn a_source_that_is_away_is_named_so() {
    common::run(async {
        let (mut a, on_a) = Node::primary("a").await;
        let b = Node::new("b");
        drop(on_a);
        // Prepared for a rewind: a stopped cluster, and nobody to rewind to.
        a.stop(Signal::SIGINT).await;
        let mut job = clone(installation(), b.layout.clone(), b.clone_options(a.port));
        let error = job.wait().await.unwrap_err();
        assert!(
            matches!(
                error,
                JobError::Source {
                    kind: JobKind::Clone,
                    ..
                }
            ),
            "{error}"
        );
        assert!(!Marker::stands(&b.layout.run_dir).unwrap());
        assert!(!b.layout.data_dir.exists());

        let mut job = rewind(installation(), a.layout.clone(), a.rewind_options(b.port));
        let error = job.wait().await.unwrap_err();
        assert!(
            matches!(
                error,
                JobError::Source {
                    kind: JobKind::Rewind,
                    ..
                }
            ),
            "{error}"
        );
        // Nothing was written, so it may be tried again.
        assert!(!Marker::stands(&a.layout.run_dir).unwrap());
    });
}

#[test]
fn a_wrong_password_is_the_sources_no() {
    common::run(async {
        let (a, _on_a) = Node::primary("a").await;
        let b = Node::new("b");
        let wrong = pgha_core::Secret::new("wrong".to_owned());
        pgha_postgres::config::Passfile {
            user: common::REPLICATION,
            password: &wrong,
        }
        .write(&b.layout.passfile())
        .unwrap();
        let error = clone(installation(), b.layout.clone(), b.clone_options(a.port))
            .wait()
            .await
            .unwrap_err();
        assert!(matches!(error, JobError::Source { .. }), "{error}");
        assert!(!error.to_string().contains("wrong"), "{error}");
    });
}

#[test]
fn a_clone_that_stands_still_is_ended() {
    common::run(async {
        let (a, _on_a) = Node::primary("a").await;
        let b = Node::new("b");
        let mut options = b.clone_options(a.port);
        options.stall_limit = Duration::from_millis(500);
        a.signal(Signal::SIGSTOP);
        let started = Instant::now();
        let error = clone(installation(), b.layout.clone(), options)
            .wait()
            .await
            .unwrap_err();
        a.signal(Signal::SIGCONT);
        let in_time = matches!(error, JobError::Stalled { .. } | JobError::Source { .. });
        assert!(
            in_time && started.elapsed() < Duration::from_secs(10),
            "{error}"
        );
    });
}

/// A sidecar that was killed leaves the job running; the next one ends it before it begins anew.
#[test]
fn a_new_sidecar_ends_the_job_of_a_dead_one() {
    common::run(async {
        let (a, on_a) = Node::primary("a").await;
        let mut b = Node::new("b");
        let mut orphan = std::process::Command::new("sleep");
        std::os::unix::process::CommandExt::process_group(&mut orphan, 0);
        let mut orphan = orphan.arg("600").spawn().unwrap();
        let mut guard = Marker::begin(&b.layout.run_dir, JobKind::Clone, Epoch(1)).unwrap();
        guard
            .name_process(i32::try_from(orphan.id()).unwrap())
            .unwrap();
        drop(guard);
        let staging = b.layout.data_dir.with_extension("staging");
        std::fs::create_dir(&staging).unwrap();
        std::fs::write(staging.join("PG_VERSION"), "half").unwrap();

        let mut job = clone(installation(), b.layout.clone(), b.clone_options(a.port));
        job.wait().await.unwrap();
        assert!(!orphan.wait().unwrap().success());
        b.settings.upstream = Some(b.upstream(&a, None));
        let mut on_b = b.start_standby().await;
        caught_up(&on_a, &b, &mut on_b).await;
    });
}

/// After an interrupted rewind the directory is no cluster any more, whatever it looks like.
#[test]
fn an_interrupted_rewind_needs_a_clone() {
    common::run(async {
        let (a, _on_a) = Node::primary("a").await;
        let (mut b, on_b) = Node::standby("b", &a).await;
        drop(on_b);
        b.stop(Signal::SIGINT).await;
        drop(Marker::begin(&b.layout.run_dir, JobKind::Rewind, Epoch(2)).unwrap());
        let error = rewind(installation(), b.layout.clone(), b.rewind_options(a.port))
            .wait()
            .await
            .unwrap_err();
        assert!(matches!(error, JobError::NotRewindable { .. }), "{error}");
        assert!(Marker::stands(&b.layout.run_dir).unwrap());
        clone(installation(), b.layout.clone(), b.clone_options(a.port))
            .wait()
            .await
            .unwrap();
        assert!(!Marker::stands(&b.layout.run_dir).unwrap());
    });
}

/// Between a decision and its rewind the primary may have become a standby, of a line that nobody has
/// compared with ours.
#[test]
fn a_standby_is_no_source_of_a_rewind() {
    common::run(async {
        let (a, _on_a) = Node::primary("a").await;
        let (b, _on_b) = Node::standby("b", &a).await;
        let (mut c, on_c) = Node::standby("c", &a).await;
        drop(on_c);
        c.stop(Signal::SIGINT).await;
        let rewound_from = |port| rewind(installation(), c.layout.clone(), c.rewind_options(port));
        let error = rewound_from(b.port).wait().await.unwrap_err();
        let said = error.to_string();
        let read_only = ["session is read-only", "writable connection"];
        assert!(read_only.iter().any(|words| said.contains(words)), "{said}");
        assert!(!Marker::stands(&c.layout.run_dir).unwrap());
        let from_primary = rewound_from(a.port).wait().await;
        assert_eq!(from_primary.unwrap(), JobOutcome::RewindNotNeeded);
    });
}

#[test]
fn a_full_disk_is_named_so() {
    common::run_on_small_disk(async {
        let (a, _on_a) = Node::primary("a").await;
        let disk = std::path::PathBuf::from(std::env::var_os(common::SMALL_DISK).unwrap());
        let mut b = Node::new("b");
        b.layout.data_dir = disk.join("postgres");
        let mut job = clone(installation(), b.layout.clone(), b.clone_options(a.port));
        let error = job.wait().await.unwrap_err();
        assert!(matches!(error, JobError::DiskFull { .. }), "{error}");
        assert!(!Marker::stands(&b.layout.run_dir).unwrap());
        // What was copied is given back.
        assert_eq!(std::fs::read_dir(&disk).unwrap().count(), 0);
    });
}
