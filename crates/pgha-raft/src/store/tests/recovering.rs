//! The rewrite for a new generation: all of it or nothing, whenever the process is killed.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use openraft::EntryPayload;
use pgha_core::command::Recover;
use pgha_core::{Command, Epoch, Generation};

use super::{append, binding, blank};
use crate::store::disk::{Change, Disk, DiskError, Record};
use crate::store::{Store, StoreError};
use crate::types::{Peer, Vote};

const DIR: &str = "PGHA_TEST_RECOVER_DIR";
const ROUNDS: u64 = 12;

fn me() -> Peer {
    Peer {
        name: "n1".into(),
        store_id: "s1".into(),
        address: "127.0.0.1:1".to_owned(),
    }
}

fn order(generation: u64, adopted: Epoch) -> Recover {
    Recover {
        generation: Generation(generation),
        epoch: adopted.next(),
        survivor: "n1".into(),
        told: None,
        at: String::new(),
    }
}

pub(super) async fn recover(store: &Store, generation: u64) -> Result<Recover, StoreError> {
    store
        .recover(me(), |adopted| order(generation, adopted))
        .await
}

fn generation(store: &Store) -> u64 {
    store.binding().map_or(0, |binding| binding.generation.0)
}

/// Everything that belongs together, of whichever generation it is.
fn is_whole(store: &Store) -> u64 {
    let generation = generation(store);
    let (_, last) = store.ends();
    let last = last.expect("never empty");
    let newest = store.entries(0..=last.index);
    let mut recoveries = newest.iter().filter_map(|entry| match &entry.payload {
        EntryPayload::Normal(Command::Recover(order)) => Some((entry.log_id, order.clone())),
        EntryPayload::Blank | EntryPayload::Normal(_) | EntryPayload::Membership(_) => None,
    });
    let Some((at, order)) = recoveries.next_back() else {
        assert_eq!(generation, 1);
        return 1;
    };
    assert_eq!(order.generation.0, generation);
    assert!(store.adopted_epoch() >= order.epoch);
    assert!(store.committed() >= Some(at));
    let vote = store.vote().expect("voted");
    assert!(vote.leader_id.term >= at.leader_id.term && !vote.committed);
    let membership = store.membership().borrow().clone();
    assert_eq!(membership.log_id.expect("one").index + 1, at.index);
    assert_eq!(membership.voters, [[pgha_core::RaftId(1)].into()]);
    generation
}

async fn pristine(dir: &Path) -> Store {
    let store = Store::open(dir).unwrap();
    if store.binding().is_none() {
        store.bind(binding("c", 1)).await.unwrap();
        store.save_vote(Vote::new_committed(3, 2)).await.unwrap();
        append(&store, vec![blank(3, 0), blank(3, 1)])
            .await
            .unwrap();
    }
    store
}

#[tokio::test]
async fn keeps_the_log_and_adds_to_it_in_one_write() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft");
    let store = pristine(&path).await;
    store.adopt_epoch(Epoch(8)).await.unwrap();
    let before = store.entries(0..=9);
    recover(&store, 2).await.unwrap();
    // It belongs to nobody's hands any more.
    assert!(store.adopt_epoch(Epoch(20)).await.is_err());
    assert!(append(&store, vec![blank(9, 4)]).await.is_err());
    assert!(recover(&store, 3).await.is_err());
    let writes_seen = store.inner.shared.lock().unwrap().image.head.sequence;
    drop(store);

    let store = Store::open(&path).unwrap();
    assert_eq!(is_whole(&store), 2);
    assert_eq!(store.entries(0..=9)[..2], before[..]);
    assert_eq!(store.ends().1.map(|last| last.index), Some(3));
    assert_eq!(store.adopted_epoch(), Epoch(9));
    assert!(store.has_committed());
    let head = store.inner.shared.lock().unwrap().image.head.clone();
    assert!(head.sequence > writes_seen);
    // Every later write is taken: this is the store of the new generation.
    append(&store, vec![blank(5, 4)]).await.unwrap();
}

/// A disk that writes nothing until it is told to.
struct Held {
    disk: Box<dyn Disk>,
    go: Receiver<bool>,
}

impl Disk for Held {
    fn read_all(&mut self) -> Result<Vec<Record>, DiskError> {
        self.disk.read_all()
    }

    fn commit(&mut self, changes: Vec<Change>) -> io::Result<()> {
        match self.go.recv() {
            Ok(true) => self.disk.commit(changes),
            Ok(false) | Err(_) => Err(io::Error::from_raw_os_error(nix::libc::EIO)),
        }
    }

    fn size_bytes(&self) -> io::Result<u64> {
        self.disk.size_bytes()
    }
}

#[tokio::test]
async fn is_answered_when_it_is_on_disk_and_a_failed_write_leaves_the_old_store() {
    for works in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("raft");
        drop(pristine(&path).await);
        let (release, go) = channel();
        let wrap = |disk| -> Box<dyn Disk> { Box::new(Held { disk, go }) };
        let store = Store::open_with(&path, wrap).unwrap();
        let asked = store.clone();
        let answer = tokio::spawn(async move { recover(&asked, 2).await });
        tokio::task::yield_now().await;
        assert!(!answer.is_finished(), "nothing is on disk yet");
        release.send(works).unwrap();
        assert_eq!(answer.await.unwrap().is_ok(), works);
        drop(store);
        let expected = if works { 2 } else { 1 };
        assert_eq!(is_whole(&Store::open(&path).unwrap()), expected);
    }
}

/// Recovers again and again until it is killed, and prints what was acknowledged.
#[tokio::test]
#[ignore = "child process of the test below"]
async fn child() {
    let dir = std::env::var(DIR).unwrap();
    loop {
        let store = pristine(Path::new(&dir)).await;
        let next = generation(&store) + 1;
        recover(&store, next).await.unwrap();
        let mut out = io::stdout().lock();
        writeln!(out, "\nacked {next}").unwrap();
        out.flush().unwrap();
    }
}

fn run_and_kill(dir: &Path, after: Duration) -> u64 {
    let name = module_path!().split_once("::").unwrap().1;
    let name = format!("{name}::child");
    let mut child = Process::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", &name])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut acked, mut until) = (1, None);
    for line in lines.map_while(Result::ok) {
        let Some(generation) = line.strip_prefix("acked ") else {
            continue;
        };
        acked = generation.parse().unwrap();
        let until = *until.get_or_insert_with(|| Instant::now() + after);
        if Instant::now() > until {
            // At whatever it does by now.
            std::thread::sleep(after / 10);
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    acked
}

#[test]
fn a_kill_leaves_the_old_generation_or_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft");
    let mut before = 1;
    for round in 0..ROUNDS {
        let acked = run_and_kill(&path, Duration::from_millis(20 + 13 * round));
        let store = Store::open(&path).unwrap();
        let found = is_whole(&store);
        assert!(
            found == acked || found == acked + 1,
            "round {round}: {acked} was acknowledged, {found} found"
        );
        assert!(found > before, "round {round}: nothing happened");
        before = found;
    }
}

#[test]
fn a_store_that_cannot_be_marked_is_moved_aside_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft");
    let store = Store::open(&path).unwrap();
    // As on a full disk, the mark cannot be written.
    std::fs::create_dir(path.join("ruled-out.new")).unwrap();
    let aside = Store::rule_out(&path, Generation(3)).unwrap();
    assert!(aside.join("store").exists() && !path.exists());
    let old = store.store_id();
    drop(store);
    assert_eq!(Store::quarantines(&path), [aside]);
    assert_eq!(Store::ruled_out_by(&path), None);
    assert_ne!(Store::open(&path).unwrap().store_id(), old);
}

#[test]
fn a_mark_alone_rules_a_store_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft");
    drop(Store::open(&path).unwrap());
    // A crash after the mark and before the move.
    std::fs::write(path.join("ruled-out"), "3").unwrap();
    let error = Store::open(&path).unwrap_err();
    let StoreError::RuledOut { generation, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(generation, Generation(3));
    assert_eq!(Store::ruled_out_by(&path), Some(Generation(3)));
    Store::open(&path).unwrap();
}
