//! What the store holds, in memory: small by design (a few entries a minute, cut by snapshots), so
//! that reads touch no disk and cannot fail.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use pgha_core::{Epoch, StoreId};
use serde::{Deserialize, Serialize};

use super::disk::Change;
use super::record::{self, RecordError};
use crate::types::{Binding, Entry, LogId, Vote};

pub(crate) const HEAD_KEY: &[u8] = b"head";

/// All that is not an entry, in one record: vote, marks and binding are of one moment or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// Number of the write that this record came with.
    pub sequence: u64,
    pub store_id: StoreId,
    #[serde(default)]
    pub binding: Option<Binding>,
    /// Term and vote (Raft paper, figure 2).
    #[serde(default)]
    pub vote: Option<Vote>,
    /// The newest entry that a snapshot replaced.
    #[serde(default)]
    pub purged: Option<LogId>,
    /// The newest entry known to be committed.
    #[serde(default)]
    pub committed: Option<LogId>,
    #[serde(default)]
    pub adopted_epoch: Epoch,
    /// The newest entry, or what it was purged up to.
    #[serde(default)]
    pub last: Option<LogId>,
}

impl Head {
    /// The head of a store that nothing was ever written to.
    pub(crate) fn new(store_id: StoreId) -> Self {
        Self {
            sequence: 1,
            store_id,
            binding: None,
            vote: None,
            purged: None,
            committed: None,
            adopted_epoch: Epoch::NONE,
            last: None,
        }
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, RecordError> {
        record::encode(HEAD_KEY, self)
    }
}

/// The head and the entries behind it.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub head: Head,
    pub entries: BTreeMap<u64, Entry>,
}

pub(crate) fn entry_key(index: u64) -> Vec<u8> {
    let mut key = vec![b'e'];
    key.extend(index.to_be_bytes());
    key
}

impl Image {
    /// Whether Raft ever wrote here.
    pub(crate) fn has_entries(&self) -> bool {
        let head = &self.head;
        head.vote.is_some() || head.last.is_some() || head.committed.is_some()
    }

    /// Adds entries behind the last one.
    pub(crate) fn append(&mut self, entries: Vec<Entry>) -> Result<Vec<Change>, RecordError> {
        let encoded = entries
            .iter()
            .map(|entry| {
                let key = entry_key(entry.log_id.index);
                record::encode(&key, entry).map(|value| Change::Put(key, value))
            })
            .collect::<Result<Vec<_>, _>>()?;
        for entry in entries {
            self.head.last = Some(entry.log_id);
            self.entries.insert(entry.log_id.index, entry);
        }
        Ok(encoded)
    }

    /// Takes away `since` and what is behind it, the newest first: what a crash leaves has no hole.
    pub(crate) fn truncate(&mut self, since: u64) -> Vec<Change> {
        let removed = self.entries.split_off(&since);
        self.head.last = self.newest();
        removed
            .into_keys()
            .rev()
            .map(|index| Change::Remove(entry_key(index)))
            .collect()
    }

    /// Takes away what a snapshot replaced.
    pub(crate) fn purge(&mut self, upto: LogId) -> Vec<Change> {
        let kept = self.entries.split_off(&(upto.index + 1));
        let removed = std::mem::replace(&mut self.entries, kept);
        self.head.purged = self.head.purged.max(Some(upto));
        self.head.last = self.newest();
        removed
            .into_keys()
            .map(|index| Change::Remove(entry_key(index)))
            .collect()
    }

    fn newest(&self) -> Option<LogId> {
        let newest = self.entries.last_key_value().map(|(_, entry)| entry.log_id);
        newest.or(self.head.purged)
    }

    /// Forgets everything of a cluster that never came to be.
    pub(crate) fn unbind(&mut self) -> Vec<Change> {
        let changes = self.truncate(0);
        let sequence = self.head.sequence;
        self.head = Head {
            sequence,
            ..Head::new(self.head.store_id.clone())
        };
        changes
    }

    pub(crate) fn range(&self, indexes: RangeInclusive<u64>) -> Vec<Entry> {
        if indexes.is_empty() {
            return Vec::new();
        }
        self.entries
            .range(indexes)
            .map(|(_, entry)| entry.clone())
            .collect()
    }
}
