//! From the records of a database to an image, or to the reason for a doubt.

use std::collections::BTreeMap;
use std::ops::Range;

use super::disk::Record;
use super::image::{HEAD_KEY, Head, Image};
use super::record::{self, RecordError};
use crate::types::{Entry, LogId};

/// What was found that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Doubt {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("the record `head` is missing")]
    NoHead,
    #[error("unknown record `{0}`")]
    UnknownKey(String),
    #[error("the record of entry {key} holds entry {found}")]
    WrongIndex { key: u64, found: LogId },
    #[error("entry {0} is missing")]
    Hole(u64),
    #[error("entry {entry} follows entry {before} of a later leader")]
    Backwards { before: LogId, entry: LogId },
    #[error("the last entry is {found:?} where {expected:?} was written")]
    Last {
        expected: Option<LogId>,
        found: Option<LogId>,
    },
    #[error("entry {committed} is committed and the log ends at {end:?}")]
    CommittedBehindEnd {
        committed: LogId,
        end: Option<LogId>,
    },
    #[error(
        "entries up to {purged} were replaced by a snapshot and the snapshot reaches {snapshot:?}"
    )]
    SnapshotShort {
        purged: LogId,
        snapshot: Option<LogId>,
    },
    #[error("write {vouched} was made durable and the newest one found is {found}")]
    Shortened { vouched: u64, found: u64 },
    #[error("neither half of the file `tip` is whole")]
    NoTip,
}

/// Checks all records against each other, the witness file and the snapshot. Entries outside of what
/// the head names are leftovers of a write that never ended: nobody was told of them.
pub(crate) fn image(
    records: Vec<Record>,
    vouched: Option<u64>,
    snapshot: Option<LogId>,
) -> Result<Image, Doubt> {
    let (head, entries) = decode(records)?;
    let vouched = vouched.ok_or(Doubt::NoTip)?;
    if head.sequence < vouched {
        return Err(Doubt::Shortened {
            vouched,
            found: head.sequence,
        });
    }
    let indexes = indexes(&head);
    check_entries(&head, &entries, indexes.start, indexes.end)?;
    check_marks(&head, snapshot)?;
    Ok(Image { head, entries })
}

fn indexes(head: &Head) -> Range<u64> {
    // Nonsense may name the last number of all, which has none behind it.
    let behind = |mark: Option<LogId>| mark.map_or(0, |mark| mark.index.saturating_add(1));
    behind(head.purged)..behind(head.last)
}

fn decode(records: Vec<Record>) -> Result<(Head, BTreeMap<u64, Entry>), Doubt> {
    let head = records.iter().find(|(key, _)| key == HEAD_KEY);
    let (key, value) = head.ok_or(Doubt::NoHead)?;
    let head: Head = record::decode(key, value)?;
    let mut entries = BTreeMap::new();
    for (key, value) in records.into_iter().filter(|(key, _)| key != HEAD_KEY) {
        let index = entry_index(&key).ok_or_else(|| Doubt::UnknownKey(record::name(&key)))?;
        if !indexes(&head).contains(&index) {
            continue;
        }
        let entry: Entry = record::decode(&key, &value)?;
        if entry.log_id.index != index {
            return Err(Doubt::WrongIndex {
                key: index,
                found: entry.log_id,
            });
        }
        entries.insert(index, entry);
    }
    Ok((head, entries))
}

fn entry_index(key: &[u8]) -> Option<u64> {
    let index = key.strip_prefix(b"e")?;
    Some(u64::from_be_bytes(index.try_into().ok()?))
}

fn check_entries(
    head: &Head,
    entries: &BTreeMap<u64, Entry>,
    first: u64,
    end: u64,
) -> Result<(), Doubt> {
    let mut before = head.purged;
    for index in first..end {
        let entry = entries.get(&index).ok_or(Doubt::Hole(index))?.log_id;
        if let Some(before) = before.filter(|before| before.leader_id > entry.leader_id) {
            return Err(Doubt::Backwards { before, entry });
        }
        before = Some(entry);
    }
    if before != head.last {
        return Err(Doubt::Last {
            expected: head.last,
            found: before,
        });
    }
    Ok(())
}

fn check_marks(head: &Head, snapshot: Option<LogId>) -> Result<(), Doubt> {
    if let Some(purged) = head.purged
        && snapshot.is_none_or(|snapshot| snapshot.index < purged.index)
    {
        return Err(Doubt::SnapshotShort { purged, snapshot });
    }
    let end = head.last.max(snapshot);
    match head.committed {
        Some(committed) if end.is_none_or(|end| end.index < committed.index) => {
            Err(Doubt::CommittedBehindEnd { committed, end })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
