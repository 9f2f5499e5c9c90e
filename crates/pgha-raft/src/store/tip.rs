//! A witness beside the log: how far it was durable.
//!
//! A database that finds its newest pages broken takes them for a write that a crash cut short and
//! opens with what is older (sled does). For a vote or an acknowledged entry that is the very loss
//! that Raft does not survive, so the number of the last durable write is also kept in a file of
//! its own: a store that opens with less is damaged.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const MAGIC: [u8; 8] = *b"pgha-tip";
/// Slots lie in sectors of their own: a torn write spoils one of them at most.
const SLOT_BYTES: u64 = 4096;
const SLOTS: u64 = 2;
const CONTENT_BYTES: usize = 16;

/// The open witness file.
pub(crate) struct Tip {
    file: File,
}

impl Tip {
    /// Writes a new file and makes its content durable; the directory is the caller's.
    pub(crate) fn create(path: &Path, sequence: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.set_len(SLOTS * SLOT_BYTES)?;
        let tip = Self { file };
        tip.write(sequence)?;
        tip.file.sync_all()
    }

    /// Opens the file and reads the newest number that it vouches for; none where neither slot is
    /// whole.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Option<u64>)> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut newest = None;
        for slot in 0..SLOTS {
            let mut bytes = [0; CONTENT_BYTES + 4];
            match file.read_exact_at(&mut bytes, slot * SLOT_BYTES) {
                Ok(()) => newest = newest.max(decode(&bytes)),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Err(error),
            }
        }
        Ok((Self { file }, newest))
    }

    /// Vouches for `sequence`; durable when it returns. The slot of the number before stays.
    pub(crate) fn write(&self, sequence: u64) -> io::Result<()> {
        let mut bytes = [0; CONTENT_BYTES + 4];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..CONTENT_BYTES].copy_from_slice(&sequence.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..CONTENT_BYTES]);
        bytes[CONTENT_BYTES..].copy_from_slice(&crc.to_le_bytes());
        self.file
            .write_all_at(&bytes, sequence % SLOTS * SLOT_BYTES)?;
        self.file.sync_data()
    }
}

fn decode(bytes: &[u8; CONTENT_BYTES + 4]) -> Option<u64> {
    let (content, crc) = bytes.split_at(CONTENT_BYTES);
    let crc = u32::from_le_bytes(crc.try_into().ok()?);
    let sequence = u64::from_le_bytes(content[8..].try_into().ok()?);
    (content.starts_with(&MAGIC) && crc == crc32fast::hash(content)).then_some(sequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_slot_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tip");
        Tip::create(&path, 1).unwrap();
        let (tip, found) = Tip::open(&path).unwrap();
        assert_eq!(found, Some(1));
        for sequence in 2..=7 {
            tip.write(sequence).unwrap();
            assert_eq!(Tip::open(&path).unwrap().1, Some(sequence));
        }

        // A write of 8 that a crash cut short: 7 still stands.
        tip.file.write_all_at(b"pgha-tip torn", 0).unwrap();
        assert_eq!(Tip::open(&path).unwrap().1, Some(7));
        tip.file.set_len(SLOT_BYTES).unwrap();
        assert_eq!(Tip::open(&path).unwrap().1, None);
    }
}
