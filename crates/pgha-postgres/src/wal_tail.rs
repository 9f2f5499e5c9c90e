//! The newest WAL of a running primary, held open: it stays readable where the data directory is
//! removed under it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use pgha_core::{Lsn, TimelineId};

use crate::files::{At, FileError, on_disk};
use crate::segment::{segment_bytes, segment_name};
use crate::wal_end::{self, WalEndError};
use crate::{Installation, Layout};

/// The end of the held WAL was not found.
#[derive(Debug, thiserror::Error)]
pub enum WalTailError {
    /// The segments could not be laid out for reading.
    #[error(transparent)]
    File(#[from] FileError),
    /// They do not tell.
    #[error(transparent)]
    End(#[from] WalEndError),
}

/// Segments of one primary: that before its last known flush position and the one after it.
#[derive(Debug)]
pub struct WalTail {
    wal_dir: PathBuf,
    scratch_dir: PathBuf,
    segment_bytes: Option<u64>,
    held: BTreeMap<String, File>,
    /// Looked for at this position: nothing is new while nobody writes.
    seen: Option<(TimelineId, Lsn)>,
}

impl WalTail {
    /// Of the PostgreSQL there; holds nothing yet.
    pub fn new(layout: &Layout) -> Self {
        Self {
            wal_dir: layout.data_dir.join("pg_wal"),
            scratch_dir: layout.run_dir.join("wal-tail"),
            segment_bytes: None,
            held: BTreeMap::new(),
            seen: None,
        }
    }

    /// Holds what a primary on `timeline` that has flushed up to there writes to now. What cannot be
    /// opened, as it does not exist yet, is tried again once there is more.
    pub fn hold(&mut self, timeline: TimelineId, flush: Lsn) {
        let place = (timeline, flush);
        if self.seen.replace(place) == Some(place) {
            return;
        }
        if let Some(segment_bytes) = self.segment_bytes {
            let wanted = around(timeline, flush, segment_bytes);
            self.held.retain(|name, _| wanted.contains(name));
            if self.held.len() == wanted.len() {
                return;
            }
        }
        on_disk(|| self.open(timeline, flush));
    }

    fn open(&mut self, timeline: TimelineId, flush: Lsn) {
        if self.segment_bytes.is_none() {
            self.segment_bytes = segment_bytes(&self.wal_dir);
        }
        let Some(segment_bytes) = self.segment_bytes else {
            return;
        };
        for name in around(timeline, flush, segment_bytes) {
            if !self.held.contains_key(&name)
                && let Ok(file) = File::open(self.wal_dir.join(&name))
            {
                self.held.insert(name, file);
            }
        }
    }

    /// Where the held WAL ends, as [`crate::end_of_wal`] would tell if the directory were still there.
    pub fn end(
        &self,
        installation: &Installation,
        timeline: TimelineId,
        from: Lsn,
    ) -> Result<Lsn, WalTailError> {
        let dir = &self.scratch_dir;
        if dir.exists() {
            fs::remove_dir_all(dir).at("remove", dir)?;
        }
        fs::create_dir_all(dir).at("create", dir)?;
        for (name, file) in &self.held {
            // A segment has no name any more, but pg_waldump wants one: a copy would need the space of
            // a disk that may be full.
            let open = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
            let link = dir.join(name);
            symlink(open, &link).at("create", &link)?;
        }
        let end = wal_end::end_in(installation, dir, timeline, from);
        fs::remove_dir_all(dir).at("remove", dir)?;
        Ok(end?)
    }
}

/// The names of the segment that has what ends at a position, and of the next one.
fn around(timeline: TimelineId, position: Lsn, segment_bytes: u64) -> [String; 2] {
    let position = Lsn(position.0.saturating_sub(1));
    let next = Lsn(position.0.saturating_add(segment_bytes));
    [position, next].map(|position| segment_name(timeline, position, segment_bytes))
}
