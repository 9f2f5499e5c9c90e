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
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    const RECORD_BYTES: usize = MAGIC_BYTES + 2 * WORD_BYTES + size_of::<u32>();
    const MAGIC: [u8; MAGIC_BYTES] = *b"a record";

    proptest! {
        // Each waits for the disk.
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_damaged_slot_gives_way_to_the_one_before(
            values in prop::collection::vec(any::<u64>(), 2..6),
            in_newest: bool,
            at: Index,
            change in 1..=u8::MAX,
            cut in any::<bool>(),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("slots");
            let records = (1..).zip(values).map(|(number, value)| [number, value]);
            let records: Vec<_> = records.collect();
            let slots = Slots::create(&path, MAGIC, records[0]).unwrap();
            for record in &records[1..] {
                slots.write(*record).unwrap();
            }
            let [.., before, newest] = records[..] else { unreachable!("at least two") };
            let (damaged, whole) = if in_newest { (newest, before) } else { (before, newest) };

            let start = (damaged[0] % SLOTS * SLOT_BYTES) as usize;
            let mut bytes = std::fs::read(&path).unwrap();
            let at = start + at.index(RECORD_BYTES);
            bytes[at] ^= change;
            if cut {
                bytes[at..start + RECORD_BYTES].fill(0);
                // A record that ends in zeros is whole without them.
                prop_assume!(bytes != std::fs::read(&path).unwrap());
            }
            std::fs::write(&path, bytes).unwrap();
            prop_assert_eq!(Slots::<2>::open(&path, MAGIC).unwrap().1, Some(whole));
        }

        #[test]
        fn any_bytes_are_no_record_without_their_checksum(
            has_magic: bool,
            content in prop::collection::vec(any::<u8>(), 2 * WORD_BYTES),
            wrong_by in prop_oneof![Just(0), any::<u32>()],
            length in prop_oneof![Just(RECORD_BYTES), 0..=RECORD_BYTES],
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("slots");
            let magic = if has_magic { MAGIC } else { *b"A record" };
            let mut bytes = [&magic[..], &content].concat();
            let crc = crc32fast::hash(&bytes) ^ wrong_by;
            bytes.extend(crc.to_le_bytes());
            std::fs::write(&path, &bytes[..length]).unwrap();

            let (first, second) = content.split_at(WORD_BYTES);
            let words = [first, second].map(|word| u64::from_le_bytes(word.try_into().unwrap()));
            let is_whole = has_magic && wrong_by == 0 && length == RECORD_BYTES;
            let (_, found) = Slots::<2>::open(&path, MAGIC).unwrap();
            prop_assert_eq!(found, is_whole.then_some(words));
        }
    }

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
