//! A witness beside the log: how far it was durable.
//!
//! A database that finds its newest pages broken takes them for a write that a crash cut short and
//! opens with what is older (sled does). For a vote or an acknowledged entry that is the very loss
//! that Raft does not survive, so the number of the last durable write is also kept in a file of
//! its own: a store that opens with less is damaged.

use std::io;
use std::path::Path;

use super::slots::Slots;

const MAGIC: [u8; 8] = *b"pgha-tip";

/// The open witness file.
pub(crate) struct Tip(Slots<1>);

impl Tip {
    /// Writes a new file and makes its content durable; the directory is the caller's.
    pub(crate) fn create(path: &Path, sequence: u64) -> io::Result<()> {
        Slots::create(path, MAGIC, [sequence]).map(drop)
    }

    /// Opens the file and reads the newest number that it vouches for; none where neither slot is
    /// whole.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Option<u64>)> {
        let (slots, newest) = Slots::open(path, MAGIC)?;
        Ok((Self(slots), newest.map(|[sequence]| sequence)))
    }

    /// Vouches for `sequence`; durable when it returns. The slot of the number before stays.
    pub(crate) fn write(&self, sequence: u64) -> io::Result<()> {
        self.0.write([sequence])
    }
}
