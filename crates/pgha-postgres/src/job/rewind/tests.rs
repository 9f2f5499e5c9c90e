//! What is made of what the program says, with a program that says it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::*;
use crate::Version;

/// A `pg_rewind` that is this shell script.
fn program(bin_dir: &Path, script: &str) -> Installation {
    let program = bin_dir.join("pg_rewind");
    fs::write(&program, format!("#!/bin/sh\n{script}")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Installation {
        bin_dir: bin_dir.to_owned(),
        version: Version {
            major: 15,
            minor: 0,
        },
    }
}

fn layout(dir: &Path) -> Layout {
    let layout = Layout {
        data_dir: dir.join("data"),
        run_dir: dir.join("run"),
        conf_dir: dir.join("conf"),
        socket_dir: dir.join("run"),
    };
    fs::create_dir(&layout.data_dir).unwrap();
    layout
}

fn options(dir: &Path) -> RewindOptions {
    RewindOptions {
        host: "127.0.0.1".to_owned(),
        port: 1,
        user: "replicator".to_owned(),
        passfile: dir.join("passfile"),
        member: "n1".to_owned(),
        epoch: Epoch(1),
        unassigned: None,
        stall_limit: Duration::from_secs(60),
    }
}

/// One thread: what the program says before the cancelling has not been read by then.
#[tokio::test]
async fn what_a_cancelled_rewind_said_last_counts() {
    let dir = tempfile::tempdir().unwrap();
    let layout = layout(dir.path());
    // Once it is let go it says that it begins to copy, leaves a sign, and lives until it is killed.
    let copies = "cd \"${0%/*}\"\n: >begun\nuntil [ -e go ]; do sleep 0.01; done\n\
                  echo 'pg_rewind: need to copy 1 MB' >&2\n: >copying\nexec sleep 60\n";
    let installation = program(dir.path(), copies);
    let mut job = rewind(installation, layout.clone(), options(dir.path()));
    let until = Instant::now() + Duration::from_secs(20);
    let left = |name: &str| {
        assert!(Instant::now() < until, "no {name}");
        dir.path().join(name).exists()
    };
    while !left("begun") {
        tokio::task::yield_now().await;
    }
    fs::write(dir.path().join("go"), "").unwrap();
    while !left("copying") {
        std::thread::yield_now();
    }
    job.cancel();
    let outcome = job.wait().await;
    assert!(
        matches!(outcome, Err(JobError::NotRewindable { .. })),
        "{outcome:?}"
    );
    assert!(Marker::stands(&layout.run_dir).unwrap(), "half rewound");
}

/// Two lines of one number: what was copied onto the wrong one is never started.
#[tokio::test]
async fn data_that_was_rewound_along_a_twin_is_not_used() {
    let says = "echo 'pg_rewind: servers diverged at WAL location 0/3000060 on timeline 3' >&2\n";
    for (unassigned, is_used) in [(None, true), (Some(2), true), (Some(3), false)] {
        let dir = tempfile::tempdir().unwrap();
        let layout = layout(dir.path());
        let options = RewindOptions {
            unassigned: unassigned.map(TimelineId),
            ..options(dir.path())
        };
        let mut job = rewind(program(dir.path(), says), layout.clone(), options);
        let outcome = job.wait().await;
        let broken = matches!(outcome, Err(JobError::NotRewindable { .. }));
        assert_eq!(broken, !is_used, "{unassigned:?}: {outcome:?}");
        assert_eq!(Marker::stands(&layout.run_dir).unwrap(), !is_used);
    }
}
