//! A data directory as a list of WAL records, each of which knows where it was first written: forks
//! and losses that PostgreSQL itself cannot see are visible here.

use std::collections::BTreeMap;
use std::sync::Arc;

use pgha_core::lineage::Position;
use pgha_core::{Epoch, ForkId, Lsn, SystemIdentifier, TimelineId};

/// What a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// A client's commit.
    Write,
    /// Anything that PostgreSQL writes by itself.
    Background,
    /// The first record of a timeline.
    EndOfRecovery,
    /// The row that tells twins apart.
    ForkRow(Arc<ForkId>),
}

/// One record.
#[derive(Clone, Debug)]
pub struct Record {
    /// Where it ends; it begins where the one before ends.
    pub end: Lsn,
    /// On which timeline it was written.
    pub timeline: TimelineId,
    /// What it is.
    pub kind: RecordKind,
    /// Stands for this record and every one before it, by where they were first written.
    pub chain: u64,
}

/// What lies in a data directory.
#[derive(Clone, Debug)]
pub struct DataDirectory {
    /// Whose it is.
    pub system_identifier: SystemIdentifier,
    /// Its WAL from the beginning.
    pub wal: Vec<Record>,
    /// What outlives a loss of power ends here.
    pub flushed: Lsn,
    /// Timeline of the last checkpoint, as the control file has it.
    pub control_timeline: TimelineId,
    /// End of WAL at that checkpoint.
    pub redo: Lsn,
    /// It was shut down cleanly as a primary.
    pub clean: bool,
    /// It was last written by a primary, as the control file has it.
    pub was_primary: bool,
    /// The highest history file in `pg_wal`.
    pub newest_history: TimelineId,
    /// Replication slots, with the oldest WAL that each keeps.
    pub slots: BTreeMap<String, Lsn>,
    /// The oldest WAL that is still there.
    pub kept_from: Lsn,
    /// Nobody is answered before WAL was replayed up to here: a rewind copied pages as new as that.
    pub consistent_at: Lsn,
    /// It was copied, and PostgreSQL has not answered on it since.
    pub never_replayed: bool,
    /// It was rewound to the primary of this epoch and has answered nobody since.
    pub rewound: Option<Epoch>,
}

/// Why a receiver cannot stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unattached {
    /// Its timeline is not in the other's history.
    Timeline,
    /// It is past the point where the other left its timeline, or ahead of the other.
    Ahead,
    /// There is no record boundary where it ends.
    Boundary,
    /// The WAL that comes next was removed.
    Removed,
}

impl DataDirectory {
    /// What `initdb` makes.
    pub fn initialized(system_identifier: SystemIdentifier, origin: u64) -> Self {
        let timeline = TimelineId(1);
        let mut fresh = Self {
            system_identifier,
            wal: Vec::new(),
            flushed: Lsn::ZERO,
            control_timeline: timeline,
            redo: Lsn::ZERO,
            clean: true,
            was_primary: true,
            newest_history: timeline,
            slots: BTreeMap::new(),
            kept_from: Lsn::ZERO,
            consistent_at: Lsn::ZERO,
            never_replayed: false,
            rewound: None,
        };
        fresh.append(0x100_0000, timeline, RecordKind::Background, origin);
        fresh.redo = fresh.end();
        fresh
    }

    /// There is nothing in it but what `initdb` wrote.
    pub fn never_served(&self) -> bool {
        self.wal.len() == 1
    }

    /// End of its WAL.
    pub fn end(&self) -> Lsn {
        self.wal.last().map_or(Lsn::ZERO, |record| record.end)
    }

    /// End of its last record on that timeline, if there is one.
    pub fn end_on(&self, timeline: TimelineId) -> Option<(TimelineId, Lsn)> {
        let on = |record: &&Record| record.timeline == timeline;
        let last = self.wal.iter().rev().find(on)?;
        Some((timeline, last.end))
    }

    /// Timeline of its last record.
    pub fn timeline(&self) -> TimelineId {
        self.wal.last().map_or(TimelineId(1), |r| r.timeline)
    }

    /// Stands for its whole history.
    pub fn chain(&self) -> u64 {
        self.wal.last().map_or(0, |record| record.chain)
    }

    /// Every record's chain: its history as the cluster's line is kept.
    pub fn chains(&self) -> Vec<u64> {
        self.wal.iter().map(|record| record.chain).collect()
    }

    /// Writes a record of `bytes`, with everything before it, to the disk; `origin` is never used twice.
    pub fn append(&mut self, bytes: u64, timeline: TimelineId, kind: RecordKind, origin: u64) {
        self.insert(bytes, timeline, kind, origin);
        self.flush_to(self.end());
    }

    /// What is before `end` is on the disk: a commit is answered only then, and a standby is sent no more
    /// than that.
    pub fn flush_to(&mut self, end: Lsn) {
        self.flushed = self.flushed.max(end);
    }

    /// The power is gone; whether anything went with it.
    pub fn lose_unflushed(&mut self) -> bool {
        let before = self.wal.len();
        self.wal.retain(|record| record.end <= self.flushed);
        self.wal.len() < before
    }

    /// Writes a record that is not on the disk yet.
    pub fn insert(&mut self, bytes: u64, timeline: TimelineId, kind: RecordKind, origin: u64) {
        let chain = mix(self.chain() ^ mix(origin));
        let end = Lsn(self.end().0 + bytes);
        self.clean = false;
        self.wal.push(Record {
            end,
            timeline,
            kind,
            chain,
        });
    }

    /// What PostgreSQL shows once it has replayed all of it.
    pub fn position(&self) -> Position {
        let rows = self.wal.iter().filter_map(|record| match &record.kind {
            RecordKind::ForkRow(id) => Some((record.timeline, ForkId::clone(id))),
            RecordKind::Write | RecordKind::Background | RecordKind::EndOfRecovery => None,
        });
        let changes = self.wal.windows(2);
        let changes = changes.filter(|pair| pair[0].timeline != pair[1].timeline);
        Position {
            timeline: self.timeline(),
            end: self.end(),
            fork_ids: rows.collect(),
            left: changes
                .map(|pair| (pair[0].timeline, pair[0].end))
                .collect(),
        }
    }

    /// Where its WAL leaves `timeline`; none where it ends on it or never was on it.
    pub fn left(&self, timeline: TimelineId) -> Option<Lsn> {
        let after = self.wal.iter().position(|r| r.timeline > timeline)?;
        self.wal[..after]
            .last()
            .filter(|last| last.timeline == timeline)
            .map(|last| last.end)
    }

    /// Whether any of its records was written on `timeline`.
    pub fn has_timeline(&self, timeline: TimelineId) -> bool {
        self.wal.iter().any(|record| record.timeline == timeline)
    }

    /// The index of the record that begins at `lsn`.
    pub fn index_at(&self, lsn: Lsn) -> Option<usize> {
        if lsn == Lsn::ZERO {
            return Some(0);
        }
        let found = self.wal.binary_search_by(|record| record.end.cmp(&lsn));
        found.ok().map(|index| index + 1)
    }

    /// Where a receiver with this data goes on in `upstream`, by what PostgreSQL compares: timeline
    /// numbers and record boundaries.
    pub fn attach(&self, upstream: &Self) -> Result<usize, Unattached> {
        let (timeline, end) = (self.timeline(), self.end());
        if !upstream.has_timeline(timeline) {
            return Err(Unattached::Timeline);
        }
        let left = upstream.left(timeline).unwrap_or_else(|| upstream.end());
        if end > left {
            return Err(Unattached::Ahead);
        }
        if end < upstream.kept_from {
            return Err(Unattached::Removed);
        }
        upstream.index_at(end).ok_or(Unattached::Boundary)
    }

    /// Whether everything in here is how `upstream` began.
    pub fn is_prefix_of(&self, upstream: &Self) -> bool {
        self.wal.len() <= upstream.wal.len()
            && self
                .wal
                .last()
                .is_none_or(|last| upstream.wal[self.wal.len() - 1].chain == last.chain)
    }

    /// The last position that this and `other` have in common, in truth.
    pub fn common_with(&self, other: &Self) -> Lsn {
        let equal = |index: &usize| self.wal[*index].chain == other.wal[*index].chain;
        let both = self.wal.len().min(other.wal.len());
        let count = (0..both).take_while(equal).count();
        self.wal[..count].last().map_or(Lsn::ZERO, |r| r.end)
    }

    /// The last position that this and `other` have in common as `pg_rewind` finds it, and its
    /// timeline: from the numbers and ends of timelines alone.
    pub fn common_by_history(&self, other: &Self) -> (TimelineId, Lsn) {
        let mut common = (TimelineId::default(), Lsn::ZERO);
        for record in self.wal.iter().rev() {
            let timeline = record.timeline;
            if other.has_timeline(timeline) {
                let ours = self.left(timeline).unwrap_or_else(|| self.end());
                let theirs = other.left(timeline).unwrap_or_else(|| other.end());
                common = (timeline, ours.min(theirs));
                break;
            }
        }
        common
    }
}

fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
