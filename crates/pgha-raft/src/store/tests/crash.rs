//! A process that appends is killed: what it was told is durable is there afterwards.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pgha_core::Epoch;

use super::{append, blank, log_id};
use crate::store::{SnapshotFile, Store};
use crate::types::{SnapshotMeta, Vote};

const DIR: &str = "PGHA_TEST_CRASH_DIR";
const ROUNDS: u64 = 10;

/// Appends until it is killed and prints what was acknowledged.
#[tokio::test]
#[ignore = "child process of the test below"]
async fn child() {
    let store = Store::open(Path::new(&std::env::var(DIR).unwrap())).unwrap();
    let say = |text: String| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "\nacked {text}").unwrap();
        out.flush().unwrap();
    };
    let mut next = store.ends().1.map_or(0, |last| last.index + 1);
    loop {
        let term = store.vote().map_or(1, |vote| vote.leader_id.term + 1);
        store.save_vote(Vote::new(term, 1)).await.unwrap();
        store.adopt_epoch(Epoch(term)).await.unwrap();
        say(format!("vote {term}"));
        for _ in 0..20 {
            append(&store, vec![blank(term, next), blank(term, next + 1)])
                .await
                .unwrap();
            next += 2;
            say(format!("entry {term} {}", next - 1));
        }
        store.truncate(next - 1).await.unwrap();
        next -= 1;
        say(format!("truncated {next}"));
        let meta = SnapshotMeta {
            last_log_id: Some(log_id(term, next - 1)),
            ..SnapshotMeta::default()
        };
        let state = b"{}".to_vec();
        store
            .save_snapshot(SnapshotFile { meta, state })
            .await
            .unwrap();
        store.purge(log_id(term, next - 5)).await.unwrap();
    }
}

#[derive(Default, Debug)]
struct Acked {
    vote: u64,
    last: u64,
    entries: u64,
}

fn run_and_kill(dir: &Path, after: Duration, acked: &mut Acked) {
    let name = module_path!().split_once("::").unwrap().1;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--ignored",
            "--nocapture",
            &format!("{name}::child"),
        ])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut until = None;
    for line in lines.map_while(Result::ok) {
        let Some(words) = line.strip_prefix("acked ") else {
            continue;
        };
        // Counted from the first answer: opening takes what it takes.
        let until = *until.get_or_insert_with(|| Instant::now() + after);
        match words.split(' ').collect::<Vec<_>>()[..] {
            ["vote", term] => acked.vote = term.parse().unwrap(),
            ["entry", _, index] => {
                acked.last = index.parse().unwrap();
                acked.entries += 1;
            }
            ["truncated", next] => acked.last = next.parse::<u64>().unwrap() - 1,
            _ => panic!("{line}"),
        }
        if Instant::now() > until {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft");
    let mut acked = Acked::default();
    for round in 0..ROUNDS {
        run_and_kill(&path, Duration::from_millis(50 + 37 * round), &mut acked);
        let store = Store::open(&path).unwrap();
        let last = store.ends().1.map_or(0, |last| last.index);
        // One answer may have been on its way, and one truncation without one.
        assert!(
            last + 1 >= acked.last,
            "round {round}: {acked:?}, found {last}"
        );
        let vote = store.vote().map_or(0, |vote| vote.leader_id.term);
        assert!(
            vote >= acked.vote,
            "round {round}: {acked:?}, found vote {vote}"
        );
        assert!(store.adopted_epoch() >= Epoch(acked.vote), "round {round}");
    }
    assert!(acked.entries > 50, "the child hardly ran: {acked:?}");
}
