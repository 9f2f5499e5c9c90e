//! Damaged files: the store opens with everything it had, or is moved aside whole. Never with less.

use std::fs;
use std::path::{Path, PathBuf};

use super::{append, binding, blank, log_id};
use crate::store::{SnapshotFile, Store, StoreError};
use crate::types::{Entry, SnapshotMeta, Vote};
use pgha_core::Epoch;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// All that a store answers for.
#[derive(Debug, PartialEq)]
struct Content {
    store_id: String,
    vote: Option<Vote>,
    entries: Vec<Entry>,
    ends: (Option<crate::types::LogId>, Option<crate::types::LogId>),
    epoch: Epoch,
    bound: bool,
    snapshot: Option<Vec<u8>>,
}

fn content(store: &Store) -> Content {
    Content {
        store_id: store.store_id().0,
        vote: store.vote(),
        entries: store.entries(0..=u64::MAX),
        ends: store.ends(),
        epoch: store.adopted_epoch(),
        bound: store.binding().is_some(),
        snapshot: store.snapshot().map(|file| file.state.clone()),
    }
}

/// A store with a history: many writes, a truncation, a snapshot, a purge, several openings.
async fn build(path: &Path) -> Content {
    for opening in 0..4_u64 {
        let store = Store::open(path).unwrap();
        if opening == 0 {
            store.bind(binding("c1", 1)).await.unwrap();
        }
        let term = opening + 1;
        store.save_vote(Vote::new_committed(term, 1)).await.unwrap();
        store.adopt_epoch(Epoch(term)).await.unwrap();
        let next = store.ends().1.map_or(0, |last| last.index + 1);
        for index in next..next + 40 {
            append(&store, vec![blank(term, index)]).await.unwrap();
        }
        store.truncate(next + 35).await.unwrap();
        store.save_committed(Some(log_id(term, next + 30)));
        if opening == 2 {
            let last_log_id = Some(log_id(term, next + 20));
            let meta = SnapshotMeta {
                last_log_id,
                ..SnapshotMeta::default()
            };
            let state = b"{\"cluster\":\"main\"}".to_vec();
            store
                .save_snapshot(SnapshotFile { meta, state })
                .await
                .unwrap();
            store.purge(log_id(term, next + 10)).await.unwrap();
        }
    }
    content(&Store::open(path).unwrap())
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if fs::metadata(&path).unwrap().len() > 0 {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// Another seed at each run, printed where a trial fails.
pub(super) fn seeded() -> StdRng {
    let seed = std::env::var("PGHA_TEST_SEED")
        .map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    println!("PGHA_TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

#[derive(Debug, Clone, Copy)]
enum Damage {
    FlipBit,
    ZeroSector,
    Truncate,
    TruncateLastWrites,
    Delete,
}

fn damage(path: &Path, kind: Damage, random: &mut StdRng) {
    let mut bytes = fs::read(path).unwrap();
    // Holes of sparse files hold nothing that could be damaged.
    let used = bytes
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(1, |last| last + 1);
    let at = random.random_range(0..used);
    match kind {
        Damage::FlipBit => bytes[at] ^= 1 << random.random_range(0..8),
        Damage::ZeroSector => {
            let start = at / 512 * 512;
            let end = (start + 512).min(bytes.len());
            bytes[start..end].fill(0);
        }
        Damage::Truncate => bytes.truncate(at),
        Damage::TruncateLastWrites => bytes.truncate(used - used.min(at % 600 + 1)),
        Damage::Delete => return fs::remove_file(path).unwrap(),
    }
    fs::write(path, bytes).unwrap();
}

/// Opens a damaged copy. Whole, or moved aside with all its files.
fn check(path: &Path, whole: &Content, what: &str) -> bool {
    match Store::open(path) {
        Ok(store) => {
            assert_eq!(&content(&store), whole, "{what}");
            true
        }
        Err(StoreError::Quarantined { moved_to, .. }) => {
            assert!(!path.exists(), "{what}");
            assert_eq!(Store::quarantines(path), vec![moved_to.clone()], "{what}");
            assert!(moved_to.join("store").is_dir(), "{what}");
            false
        }
        Err(other) => panic!("{what}: {other}"),
    }
}

#[tokio::test]
async fn opens_with_everything_or_is_moved_aside() {
    const TRIALS: usize = 40;
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("original");
    let whole = build(&original).await;
    assert!(whole.entries.len() > 50, "{}", whole.entries.len());
    let mut random = seeded();

    let kinds = [
        Damage::FlipBit,
        Damage::ZeroSector,
        Damage::Truncate,
        Damage::TruncateLastWrites,
        Damage::Delete,
    ];
    for kind in kinds {
        let mut opened = 0;
        for trial in 0..TRIALS {
            let damaged = dir.path().join(format!("{kind:?}-{trial}"));
            copy(&original, &damaged);
            let store_files = files(&damaged.join("store"));
            let file = &store_files[random.random_range(0..store_files.len())];
            damage(file, kind, &mut random);
            let name = file.strip_prefix(&damaged).unwrap().display();
            opened += usize::from(check(&damaged, &whole, &format!("{kind:?} in {name}")));
        }
        println!(
            "{kind:?}: {opened} of {TRIALS} opened with everything, the others were moved aside"
        );
    }
}

#[tokio::test]
async fn the_data_file_alone_is_watched_closely() {
    const TRIALS: usize = 60;
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("original");
    let whole = build(&original).await;
    let mut random = seeded();
    for kind in [
        Damage::FlipBit,
        Damage::ZeroSector,
        Damage::TruncateLastWrites,
    ] {
        let mut opened = 0;
        for trial in 0..TRIALS {
            let damaged = dir.path().join(format!("{kind:?}-{trial}"));
            copy(&original, &damaged);
            damage(&damaged.join("store/log/db"), kind, &mut random);
            opened += usize::from(check(&damaged, &whole, &format!("{kind:?} in db")));
        }
        println!("{kind:?} in db: {opened} of {TRIALS} opened with everything");
    }
}

/// The newest writes fall off without a trace in the database itself: it opens, and the witness
/// file tells that there was more.
#[tokio::test]
async fn an_older_copy_of_the_database_does_not_pass_for_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft");
    drop(Store::open(&path).unwrap());
    let older = dir.path().join("older");
    copy(&path.join("store/log"), &older);
    let store = Store::open(&path).unwrap();
    store.save_vote(Vote::new(9, 1)).await.unwrap();
    let old_id = store.store_id();
    drop(store);
    fs::remove_dir_all(path.join("store/log")).unwrap();
    copy(&older, &path.join("store/log"));

    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Quarantined { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("made durable") && text.contains("The way out"),
        "{text}"
    );

    // The next start has a store of its own, with another id, and knows of the old one.
    let store = Store::open(&path).unwrap();
    assert_ne!(store.store_id(), old_id);
    assert!(!store.has_entries());
    assert_eq!(Store::quarantines(&path).len(), 1);
}

#[test]
fn a_database_that_kills_its_process_counts_as_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft");
    drop(Store::open(&path).unwrap());
    fs::write(path.join("store/opening"), "2").unwrap();
    drop(Store::open(&path).unwrap());
    assert!(!path.join("store/opening").exists());
    fs::write(path.join("store/opening"), "3").unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Quarantined { .. }), "{error}");
}
