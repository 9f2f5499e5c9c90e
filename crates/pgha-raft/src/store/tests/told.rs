//! What a holder of the lease told outlives the process that heard it.

use std::fs;

use pgha_core::{Epoch, Lsn};

use super::super::Store;

#[test]
fn the_newest_of_what_was_told_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft");
    let store = Store::open(&path).unwrap();
    assert_eq!(store.told(), None);
    for lsn in 1..=100 {
        store.keep_told(Epoch(2), Lsn(lsn));
    }
    store.keep_told(Epoch(1), Lsn(500));
    store.keep_told(Epoch(2), Lsn(50));
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.told(), Some((Epoch(2), Lsn(100))));
    store.keep_told(Epoch(3), Lsn(7));
    drop(store);
    assert_eq!(Store::open(&path).unwrap().told(), Some((Epoch(3), Lsn(7))));
}

/// A store that cannot say what was told says nothing, and is a good store all the same: nobody was
/// promised that it would know.
#[test]
fn a_spoilt_file_says_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft");
    let store = Store::open(&path).unwrap();
    let id = store.store_id();
    store.keep_told(Epoch(2), Lsn(1));
    drop(store);
    let file = path.join("store/told");
    fs::write(&file, vec![0xA5; 8192]).unwrap();
    let store = Store::open(&path).unwrap();
    assert_eq!((store.told(), store.store_id()), (None, id.clone()));
    store.keep_told(Epoch(2), Lsn(2));
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.told(), Some((Epoch(2), Lsn(2))));
    drop(store);
    fs::remove_file(&file).unwrap();
    let store = Store::open(&path).unwrap();
    assert_eq!((store.told(), store.store_id()), (None, id));
}
