//! A file with one small record, written in place. A torn write spoils the newest one at most.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Slots lie in sectors of their own.
const SLOT_BYTES: u64 = 4096;
const SLOTS: u64 = 2;
const MAGIC_BYTES: usize = 8;
const WORD_BYTES: usize = size_of::<u64>();

/// The open file; a record is `WORDS` numbers, of which the first counts the writes.
pub(crate) struct Slots<const WORDS: usize> {
    file: File,
    magic: [u8; MAGIC_BYTES],
}

impl<const WORDS: usize> Slots<WORDS> {
    /// Writes a new file and makes its content durable; the directory is the caller's.
    pub(crate) fn create(
        path: &Path,
        magic: [u8; MAGIC_BYTES],
        first: [u64; WORDS],
    ) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        // All of it has its place on the disk from now on: a full one does not fail a later write.
        file.write_all_at(&vec![0; (SLOTS * SLOT_BYTES) as usize], 0)?;
        let slots = Self { file, magic };
        slots.write(first)?;
        slots.file.sync_all()?;
        Ok(slots)
    }

    /// Opens the file and reads the newest record; none where no slot is whole.
    pub(crate) fn open(
        path: &Path,
        magic: [u8; MAGIC_BYTES],
    ) -> io::Result<(Self, Option<[u64; WORDS]>)> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let slots = Self { file, magic };
        let mut newest = None;
        for slot in 0..SLOTS {
            let mut bytes = vec![0; slots.record_bytes()];
            match slots.file.read_exact_at(&mut bytes, slot * SLOT_BYTES) {
                Ok(()) => newest = newest.max(slots.decode(&bytes)),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Err(error),
            }
        }
        Ok((slots, newest))
    }

    /// Durable when it returns. The record before it stays.
    pub(crate) fn write(&self, words: [u64; WORDS]) -> io::Result<()> {
        let mut bytes = self.magic.to_vec();
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        let crc = crc32fast::hash(&bytes);
        bytes.extend(crc.to_le_bytes());
        let slot = words.first().map_or(0, |number| number % SLOTS);
        self.file.write_all_at(&bytes, slot * SLOT_BYTES)?;
        self.file.sync_data()
    }

    fn record_bytes(&self) -> usize {
        self.magic.len() + WORDS * WORD_BYTES + size_of::<u32>()
    }

    fn decode(&self, bytes: &[u8]) -> Option<[u64; WORDS]> {
        let (content, crc) = bytes.split_last_chunk()?;
        let (words, _) = content.strip_prefix(&self.magic)?.as_chunks();
        if u32::from_le_bytes(*crc) != crc32fast::hash(content) {
            return None;
        }
        let words: Vec<_> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        words.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_slot_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("slots");
        Slots::create(&path, *b"a record", [1, 10]).unwrap();
        let open = || Slots::<2>::open(&path, *b"a record").unwrap();
        let (slots, found) = open();
        assert_eq!(found, Some([1, 10]));
        for number in 2..=7 {
            slots.write([number, 100 - number]).unwrap();
            assert_eq!(open().1, Some([number, 100 - number]));
        }
        let other = Slots::<2>::open(&path, *b"A record").unwrap();
        assert_eq!(other.1, None, "another kind of file");

        // A write of 8 that a crash cut short: 7 still stands.
        slots.file.write_all_at(b"a record torn", 0).unwrap();
        assert_eq!(open().1, Some([7, 93]));
        slots.file.set_len(SLOT_BYTES).unwrap();
        assert_eq!(open().1, None);
    }
}
