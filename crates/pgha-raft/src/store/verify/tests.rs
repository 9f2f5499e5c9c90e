//! Records that are whole, each for itself: together they are a log, or the reason for a doubt.

use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::store::image::entry_key;
use crate::store::record::tests::contents::log_id;
use crate::store::tests::{blank, log_id as of};

/// What a store was found with.
#[derive(Clone, Debug)]
struct Found {
    head: Head,
    entries: Vec<(u64, Entry)>,
    vouched: u64,
    snapshot: Option<LogId>,
}

impl Found {
    fn image(&self) -> Result<Image, Doubt> {
        let head = (HEAD_KEY.to_vec(), self.head.encode().unwrap());
        let entries = self.entries.iter().map(|(index, entry)| {
            let key = entry_key(*index);
            let value = record::encode(&key, entry).unwrap();
            (key, value)
        });
        image(
            [head].into_iter().chain(entries).collect(),
            Some(self.vouched),
            self.snapshot,
        )
    }
}

prop_compose! {
    /// As a store that nothing ever happened to.
    fn sound()(
        replaced in option::of(0..4_u64),
        later_terms in prop::collection::vec(0..2_u64, 0..5),
        (committed, vouched, newer) in (0..9_u64, 0..9_u64, 0..3_u64),
    ) -> Found {
        let purged = replaced.map(|index| of(1, index));
        let first = replaced.map_or(0, |index| index + 1);
        let terms = later_terms.iter().scan(1, |term, later| {
            *term += later;
            Some(*term)
        });
        let entries = (first..).zip(terms).map(|(index, term)| (index, blank(term, index)));
        let entries: Vec<_> = entries.collect();
        let last = entries.last().map(|(_, entry)| entry.log_id).or(purged);
        let head = Head {
            sequence: vouched + newer,
            purged,
            committed: last.map(|last| of(1, committed.min(last.index))),
            last,
            ..Head::new("s1".into())
        };
        Found { head, entries, vouched, snapshot: purged }
    }
}

#[derive(Clone, Debug)]
enum Change {
    Purged(Option<LogId>),
    Committed(Option<LogId>),
    Last(Option<LogId>),
    Snapshot(Option<LogId>),
    Vouched(u64),
    Entry(u64, LogId),
    NoEntry(usize),
}

fn change() -> impl Strategy<Value = Change> {
    let near = || (0..4_u64, 0..9_u64).prop_map(|(term, index)| of(term, index));
    let id = || prop_oneof![near(), log_id()];
    prop_oneof![
        option::of(id()).prop_map(Change::Purged),
        option::of(id()).prop_map(Change::Committed),
        option::of(id()).prop_map(Change::Last),
        option::of(id()).prop_map(Change::Snapshot),
        (0..12_u64).prop_map(Change::Vouched),
        near().prop_map(|id| Change::Entry(id.index, id)),
        (0..9_u64, id()).prop_map(|(index, id)| Change::Entry(index, id)),
        (0..5_usize).prop_map(Change::NoEntry),
    ]
}

fn apply(found: &mut Found, change: Change) {
    match change {
        Change::Purged(id) => found.head.purged = id,
        Change::Committed(id) => found.head.committed = id,
        Change::Last(id) => found.head.last = id,
        Change::Snapshot(id) => found.snapshot = id,
        Change::Vouched(sequence) => found.vouched = sequence,
        Change::Entry(index, id) => {
            let mut entry = blank(0, 0);
            entry.log_id = id;
            found.entries.retain(|(known, _)| *known != index);
            found.entries.push((index, entry));
        }
        Change::NoEntry(at) if at < found.entries.len() => drop(found.entries.remove(at)),
        Change::NoEntry(_) => {}
    }
}

proptest! {
    #[test]
    fn a_sound_log_is_read_as_it_is(found in sound()) {
        let image = found.image().unwrap();
        prop_assert_eq!(image.head, found.head);
        prop_assert_eq!(image.entries.into_iter().collect::<Vec<_>>(), found.entries);
    }

    /// Nothing is missing of what the head speaks of, nor of what somebody was told.
    #[test]
    fn what_is_believed_fits_together(
        mut found in sound(),
        changes in prop::collection::vec(change(), 1..4),
    ) {
        for change in changes {
            apply(&mut found, change);
        }
        let Ok(Image { head, entries }) = found.image() else {
            return Ok(());
        };
        prop_assert_eq!(&head, &found.head);
        prop_assert!(head.sequence >= found.vouched);
        prop_assert!(entries.iter().all(|(index, entry)| entry.log_id.index == *index));
        let held = entries.values().map(|entry| entry.log_id);
        let line: Vec<_> = head.purged.into_iter().chain(held).collect();
        prop_assert!(head.purged.is_some() || line.first().is_none_or(|id| id.index == 0));
        for two in line.windows(2) {
            prop_assert!(two[0].leader_id <= two[1].leader_id);
            prop_assert_eq!(two[0].index.checked_add(1), Some(two[1].index));
        }
        prop_assert_eq!(line.last(), head.last.as_ref());
        let index = |id: LogId| id.index;
        prop_assert!(found.snapshot.map(index) >= head.purged.map(index));
        prop_assert!(head.committed.map(index) <= head.last.max(found.snapshot).map(index));
    }
}
