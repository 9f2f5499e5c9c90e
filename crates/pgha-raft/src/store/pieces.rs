//! Large values in pieces.
//!
//! sled keeps up to sixteen neighbouring keys in one page, writes pages whole, and moves a page above
//! an eighth of a MiB to a file of its own that it never syncs: entries of a few KiB that lie side by
//! side were acknowledged and gone after a loss of power. So no value is larger than a piece.

use std::collections::BTreeMap;

use super::disk::{Change, Record};

/// Of a page's at most twenty keys (it may hold a few more than it is split at) none is larger: far
/// below 128 KiB together.
pub(crate) const PIECE_BYTES: usize = 4096;
/// Keys of second and later pieces begin with it; no other key does.
const PREFIX: u8 = b'p';
const NUMBER_BYTES: usize = 2;

/// Knows which keys have more than one piece.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    /// One more than the highest piece there is.
    counts: BTreeMap<Vec<u8>, u16>,
}

impl Pieces {
    /// The change as the database gets it. Pieces of an older, longer value go with it: they would
    /// be read as its end.
    pub(crate) fn split(&mut self, change: Change) -> Vec<Change> {
        let (key, value) = match change {
            Change::Put(key, value) => (key, Some(value)),
            Change::Remove(key) => (key, None),
        };
        let before = self.counts.remove(&key).unwrap_or(1);
        let Some(value) = value else {
            let others = (1..before).map(|number| Change::Remove(piece_key(&key, number)));
            return others.chain([Change::Remove(key.clone())]).collect();
        };
        let mut changes = Vec::new();
        let mut after = 0;
        // An empty value is one piece too.
        let pieces = std::iter::once(&value[..value.len().min(PIECE_BYTES)])
            .chain(value.chunks(PIECE_BYTES).skip(1));
        for piece in pieces {
            changes.push(Change::Put(piece_key(&key, after), piece.to_vec()));
            after += 1;
        }
        changes.extend((after..before).map(|number| Change::Remove(piece_key(&key, number))));
        if after > 1 {
            self.counts.insert(key, after);
        }
        changes
    }

    /// The records as they were before they were split. A piece that nothing leads to is a leftover
    /// of a write that never ended; one that is missing shows in the checksum of the whole.
    pub(crate) fn join(&mut self, stored: Vec<Record>) -> Vec<Record> {
        self.counts.clear();
        let mut whole = BTreeMap::new();
        let mut later = Vec::new();
        for (key, value) in stored {
            match piece_number(&key) {
                None => drop(whole.insert(key, value)),
                Some((of, number)) => later.push((of.to_vec(), number, value)),
            }
        }
        // In order of their keys, so also of their numbers.
        for (of, number, piece) in later {
            let value: Option<&mut Vec<u8>> = whole.get_mut(&of);
            let count = self.counts.entry(of).or_insert(1);
            if let Some(value) = value
                && *count == number
            {
                value.extend(piece);
            }
            *count = number.saturating_add(1);
        }
        whole.into_iter().collect()
    }
}

fn piece_key(key: &[u8], number: u16) -> Vec<u8> {
    if number == 0 {
        return key.to_vec();
    }
    [&[PREFIX], key, &number.to_be_bytes()[..]].concat()
}

fn piece_number(stored: &[u8]) -> Option<(&[u8], u16)> {
    let rest = stored.strip_prefix(&[PREFIX])?;
    let (key, number) = rest.split_last_chunk::<NUMBER_BYTES>()?;
    Some((key, u16::from_be_bytes(*number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Stored = BTreeMap<Vec<u8>, Vec<u8>>;

    fn apply(stored: &mut Stored, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Put(key, value) => drop(stored.insert(key, value)),
                Change::Remove(key) => drop(stored.remove(&key)),
            }
        }
    }

    fn value(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|byte| (byte % 251) as u8).collect()
    }

    proptest::proptest! {
        #[test]
        fn values_of_any_size_come_back(
            writes in proptest::collection::vec((0_u64..4, proptest::option::of(0_usize..20_000)), 0..12),
            reopened in proptest::collection::vec(proptest::bool::ANY, 12),
        ) {
            let (mut pieces, mut stored, mut wanted) = (Pieces::default(), Stored::new(), Stored::new());
            for ((index, bytes), reopened) in writes.into_iter().zip(reopened) {
                let key = [b"e", &index.to_be_bytes()[..]].concat();
                let change = match bytes {
                    Some(bytes) => Change::Put(key, value(bytes)),
                    None => Change::Remove(key),
                };
                apply(&mut wanted, vec![change.clone()]);
                apply(&mut stored, pieces.split(change));
                proptest::prop_assert!(stored.values().all(|piece| piece.len() <= PIECE_BYTES));
                if reopened {
                    pieces = Pieces::default();
                }
                let read = pieces.join(stored.clone().into_iter().collect());
                proptest::prop_assert_eq!(read, wanted.clone().into_iter().collect::<Vec<_>>());
            }
            let all: Vec<_> = wanted.into_keys().map(Change::Remove).collect();
            for change in all {
                apply(&mut stored, pieces.split(change));
            }
            proptest::prop_assert!(stored.is_empty());
        }
    }

    /// Never a value of two writes: what is left of one that never ended goes with the next.
    #[test]
    fn what_leads_nowhere_is_left_out_and_cleared() {
        let key = b"e1".to_vec();
        let mut stored = Stored::new();
        let long = Change::Put(key.clone(), value(3 * PIECE_BYTES));
        apply(&mut stored, Pieces::default().split(long));
        stored.remove(&key);
        let mut pieces = Pieces::default();
        assert_eq!(pieces.join(stored.clone().into_iter().collect()), []);
        apply(
            &mut stored,
            pieces.split(Change::Put(key.clone(), value(5))),
        );
        assert_eq!(stored.into_iter().collect::<Vec<_>>(), [(key, value(5))]);
    }
}
