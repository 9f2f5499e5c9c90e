use std::collections::BTreeMap;

use openraft::Membership;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::store::record::tests::contents::{log_id, number};
use crate::types::{Peer, StoredMembership};

fn sample() -> SnapshotFile {
    SnapshotFile {
        meta: SnapshotMeta {
            snapshot_id: "T1-N1.5".to_owned(),
            ..SnapshotMeta::default()
        },
        state: b"{\"a\":1}\n{}".to_vec(),
    }
}

prop_compose! {
    fn any_snapshot()(
        last_log_id in option::of(log_id()),
        membership_log_id in option::of(log_id()),
        voters in prop::collection::btree_set(number(), 1..4),
        text: String,
        state in prop::collection::vec(prop_oneof![1 => Just(b'\n'), 9 => any::<u8>()], 0..60),
    ) -> SnapshotFile {
        let peer = Peer { address: text.clone(), ..Peer::default() };
        let nodes: BTreeMap<_, _> = voters.iter().map(|id| (*id, peer.clone())).collect();
        let membership = Membership::new(vec![voters], nodes);
        SnapshotFile {
            meta: SnapshotMeta {
                last_log_id,
                last_membership: StoredMembership::new(membership_log_id, membership),
                snapshot_id: text,
            },
            state,
        }
    }
}

/// What is read where the file holds these bytes.
fn read_from(dir: &Path, bytes: &[u8]) -> Result<Option<SnapshotFile>, SnapshotError> {
    fs::write(dir.join(NAME), bytes).unwrap();
    read(dir)
}

proptest! {
    // Each waits for the disk.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_snapshot_comes_back_or_is_refused(
        snapshot in any_snapshot(),
        damages in prop::collection::vec((any::<Index>(), any::<u8>()), 8),
    ) {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &snapshot).unwrap();
        let read_back = read(dir.path()).unwrap();
        prop_assert_eq!(read_back.as_ref(), Some(&snapshot));

        let whole = fs::read(dir.path().join(NAME)).unwrap();
        for (at, byte) in damages {
            let at = at.index(whole.len());
            let mut changed = whole.clone();
            changed[at] = byte;
            // Of the first line some bytes may be others that say the same, `A` for `a`.
            if let Ok(found) = read_from(dir.path(), &changed) {
                prop_assert_eq!(found.as_ref(), Some(&snapshot), "byte {} is {}", at, byte);
            }
            prop_assert!(read_from(dir.path(), &whole[..at]).is_err());
            prop_assert!(read_from(dir.path(), &[&whole[..], &[byte]].concat()).is_err());
        }
    }

    /// Where checksum and length are right over nonsense.
    #[test]
    fn nonsense_is_refused(
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            "[{\\[]{0,2}\"?[a-z]{0,5}\"?:?[0-9]{0,3}[}\\]]{0,2}\n?.{0,5}"
                .prop_map(String::into_bytes),
        ],
        head in prop_oneof![
            2 => Just(None),
            1 => "(pgha-snapshot [0-9a-f +-]{0,20}|.{0,20})".prop_map(Some),
        ],
    ) {
        let dir = tempfile::tempdir().unwrap();
        let has_other_head = head.is_some();
        let head = head.unwrap_or_else(|| {
            format!("{MAGIC} {:08x} {}", crc32fast::hash(&body), body.len())
        });
        let read = read_from(dir.path(), &[head.as_bytes(), b"\n", &body].concat());
        let error = read.err();
        let fits = match &error {
            Some(SnapshotError::Meta(_)) => !has_other_head && body.contains(&b'\n'),
            Some(SnapshotError::Head) => has_other_head || !body.contains(&b'\n'),
            Some(SnapshotError::Length { .. } | SnapshotError::Checksum { .. }) => has_other_head,
            Some(SnapshotError::Read(_)) | None => false,
        };
        prop_assert!(fits, "{error:?}");
    }
}

#[test]
fn comes_back_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    assert!(read(dir.path()).unwrap().is_none());
    write(dir.path(), &sample()).unwrap();
    assert_eq!(read(dir.path()).unwrap(), Some(sample()));

    let path = dir.path().join(NAME);
    let whole = fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        assert!(read(dir.path()).is_err(), "cut at {cut}");
    }
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &flipped).unwrap();
        // A hexadecimal digit of the other case is still the same number.
        if let Ok(found) = read(dir.path()) {
            assert_eq!(found, Some(sample()), "bit {bit}");
        }
    }
}
