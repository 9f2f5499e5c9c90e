//! The process whose power goes: writes all kinds of things and says what it was told is durable.

use std::io::Write;
use std::path::Path;

use openraft::EntryPayload;
use pgha_core::{Command, Epoch};
use tokio::sync::oneshot;

use super::super::recovering::recover;
use super::super::{binding, blank, log_id};
use crate::store::{SnapshotFile, Store, StoreError, StoreFailure};
use crate::types::{Entry, SnapshotMeta, Vote};

pub(super) const DIR: &str = "PGHA_TEST_POWER_DIR";
/// Bytes of an entry's text: many of them make the database begin new segments and use old ones again.
pub(super) const ENTRY_BYTES: &str = "PGHA_TEST_POWER_ENTRY_BYTES";

/// All that a store answers for, but for the commit mark, which may be behind.
pub(super) fn digest(store: &Store) -> String {
    let entries = serde_json::to_vec(&store.entries(0..=u64::MAX)).unwrap();
    let snapshot = store.snapshot().map(|file| file.meta.last_log_id);
    let head = store.shared().image.head.clone();
    format!(
        "store {} bound {:?} vote {:?} epoch {} ends {:?} entries {:08x} snapshot {snapshot:?}",
        head.store_id,
        head.binding.map(|binding| binding.generation),
        head.vote,
        head.adopted_epoch,
        (head.purged, head.last),
        crc32fast::hash(&entries),
    )
}

/// Counts the states of the store: `state` when one was asked for, `acked` when it is durable.
struct Diary(usize);

impl Diary {
    fn state(&mut self, store: &Store) {
        self.0 += 1;
        say(&format!("state {} {}", self.0, digest(store)));
    }

    fn acked(&self, behind: usize) {
        say(&format!("acked {}", self.0 - behind));
    }

    fn durable(&mut self, store: &Store) {
        self.state(store);
        self.acked(0);
    }
}

/// One write: what is said must lie in the trace where it was said.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n{text}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    if bytes == 0 {
        return blank(term, index);
    }
    let why = format!("{index:06}").repeat(bytes / 6);
    let epoch = Epoch(term);
    Entry {
        log_id: log_id(term, index),
        payload: EntryPayload::Normal(Command::HandoverEnd { epoch, why }),
    }
}

fn append(store: &Store, entries: Vec<Entry>) -> oneshot::Receiver<Result<(), StoreFailure>> {
    let (done, result) = oneshot::channel();
    store.append(entries, Box::new(|outcome| done.send(outcome).unwrap()));
    result
}

#[tokio::test]
#[ignore = "child process of the test of power loss"]
async fn child() {
    let dir = std::env::var(DIR).unwrap();
    let bytes = std::env::var(ENTRY_BYTES).unwrap().parse().unwrap();
    let mut diary = Diary(0);
    for _opening in 0..2 {
        let store = Store::open(Path::new(&dir)).unwrap();
        diary.durable(&store);
        write(&store, &mut diary, bytes).await.unwrap();
        let ends = store.binding().map_or(0, |binding| binding.generation.0);
        recover(&store, ends + 1).await.unwrap();
        diary.durable(&store);
    }
}

async fn write(store: &Store, diary: &mut Diary, bytes: usize) -> Result<(), StoreError> {
    if store.binding().is_none() {
        store.bind(binding("c1", 1)).await?;
        diary.durable(store);
    }
    let term = store.vote().map_or(1, |vote| vote.leader_id.term + 1);
    store.save_vote(Vote::new(term, 1)).await?;
    diary.durable(store);
    store.adopt_epoch(Epoch(2 * term)).await?;
    diary.durable(store);
    let mut next = store.ends().1.map_or(0, |last| last.index + 1);
    for round in 0..8 {
        append(store, vec![entry(term, next, bytes), blank(term, next + 1)])
            .await
            .unwrap()
            .unwrap();
        diary.durable(store);
        store.save_committed(Some(log_id(term, next)));

        // Three writes that are under way together.
        let first = append(store, vec![entry(term, next + 2, bytes)]);
        diary.state(store);
        let (done, epoch) = oneshot::channel();
        store.adopt_epoch_then(Epoch(2 * term + round), |outcome| {
            done.send(outcome).unwrap();
        });
        diary.state(store);
        let last = append(store, vec![entry(term, next + 3, bytes)]);
        diary.state(store);
        first.await.unwrap().unwrap();
        diary.acked(2);
        epoch.await.unwrap().unwrap();
        diary.acked(1);
        last.await.unwrap().unwrap();
        diary.acked(0);
        next += 4;
    }
    store.truncate(next - 2).await?;
    diary.durable(store);
    let meta = SnapshotMeta {
        last_log_id: Some(log_id(term, next - 4)),
        ..SnapshotMeta::default()
    };
    let state = vec![b' '; 10_000];
    store
        .save_snapshot(SnapshotFile { meta, state })
        .await
        .unwrap();
    diary.durable(store);
    store.purge(log_id(term, next - 5)).await?;
    diary.durable(store);
    Ok(())
}
