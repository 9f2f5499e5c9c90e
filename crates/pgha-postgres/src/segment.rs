//! The files of WAL (manual, 30.5 "WAL Internals").

use std::fs;
use std::path::Path;

use pgha_core::{Lsn, TimelineId};

/// A page of WAL, as every packaged PostgreSQL has it (`XLOG_BLCKSZ`).
pub const WAL_PAGE_BYTES: u64 = 8192;

const SEGMENT_BYTES_MIN: u64 = 1 << 20;

/// Every segment is as long as any other, a shorter one was copied in part (manual, `initdb --wal-segsize`:
/// 1 MB to 1 GB). `None` where there is none.
pub(crate) fn segment_bytes(wal_dir: &Path) -> Option<u64> {
    let entries = fs::read_dir(wal_dir).ok()?.flatten();
    let is_segment = |name: &str| name.len() == 24 && name.bytes().all(|b| b.is_ascii_hexdigit());
    entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_segment))
        .filter_map(|entry| Some(fs::metadata(entry.path()).ok()?.len()))
        .filter(|bytes| bytes.is_power_of_two() && *bytes >= SEGMENT_BYTES_MIN)
        .max()
}

/// The name of the segment that has this position.
pub(crate) fn segment_name(timeline: TimelineId, position: Lsn, segment_bytes: u64) -> String {
    let segment = position.0 / segment_bytes;
    let segments_per_file_id = (1 << 32) / segment_bytes;
    let (high, low) = (
        segment / segments_per_file_id,
        segment % segments_per_file_id,
    );
    format!("{:08X}{high:08X}{low:08X}", timeline.0)
}

/// Where the first segment begins that is not there, counted from the one that has `from`. `None` where
/// that cannot be told.
pub(crate) fn first_missing(wal_dir: &Path, timeline: TimelineId, from: Lsn) -> Option<Lsn> {
    let bytes = segment_bytes(wal_dir)?;
    let mut begin = from.0 / bytes * bytes;
    while wal_dir
        .join(segment_name(timeline, Lsn(begin), bytes))
        .exists()
    {
        begin = begin.checked_add(bytes)?;
    }
    Some(Lsn(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_named_as_postgresql_names_them() {
        let named = |lsn: &str, bytes| {
            let lsn = lsn.parse().expect("an LSN");
            segment_name(TimelineId(26), lsn, bytes)
        };
        assert_eq!(named("0/50625A0", 16 << 20), "0000001A0000000000000005");
        assert_eq!(named("2/FF000000", 16 << 20), "0000001A00000002000000FF");
        assert_eq!(named("2/FF000000", 1 << 30), "0000001A0000000200000003");
        assert_eq!(named("3/0", 1 << 30), "0000001A0000000300000000");
    }

    #[test]
    fn the_first_missing_segment_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = 1 << 20;
        let (timeline, from) = (TimelineId(1), Lsn(0x20_0100));
        assert_eq!(first_missing(dir.path(), timeline, from), None);
        for begin in [0x20_0000, 0x30_0000, 0x50_0000] {
            let name = segment_name(timeline, Lsn(begin), bytes);
            fs::write(dir.path().join(name), vec![0; 1 << 20]).unwrap();
        }
        assert_eq!(
            first_missing(dir.path(), timeline, from),
            Some(Lsn(0x40_0000))
        );
        let boundary = Lsn(0x40_0000);
        assert_eq!(
            first_missing(dir.path(), timeline, boundary),
            Some(boundary)
        );
    }
}
