//! Where data left its earlier timelines, whatever promotion that was.

use std::collections::BTreeMap;
use std::path::Path;

use pgha_core::{Lsn, TimelineId};

use super::history_path;
use crate::files::read_if_present;

/// Where data on `timeline` left each timeline before it, by its history file.
///
/// Never an error: this is asked of data that nobody vouches for. A standby that has fetched a history, is
/// still short of where that begins and is promoted by hand writes one that goes back (faults M25). That
/// voids a promotion, and yet says how far the data is an ancestor's: not beyond where a later one was
/// left. A file that is missing, or not to be read, speaks against nobody.
pub fn departures(data_dir: &Path, timeline: TimelineId) -> BTreeMap<TimelineId, Lsn> {
    let path = history_path(data_dir, timeline);
    let text = read_if_present(&path).unwrap_or_else(|error| {
        tracing::warn!(%error, "the history of timeline {timeline} is taken for unknown");
        None
    });
    let text = text.unwrap_or_default();
    let mut left: BTreeMap<TimelineId, Lsn> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let ancestor = TimelineId(words.next()?.parse().ok()?);
            let switch = words.next()?.parse().ok()?;
            (ancestor < timeline).then_some((ancestor, switch))
        })
        .collect();
    let mut furthest = Lsn(u64::MAX);
    for switch in left.values_mut().rev() {
        furthest = furthest.min(*switch);
        *switch = furthest;
    }
    left
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(text: Option<&[u8]>) -> Vec<(u32, u64)> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("pg_wal")).unwrap();
        if let Some(text) = text {
            fs::write(history_path(dir.path(), TimelineId(4)), text).unwrap();
        }
        let left = departures(dir.path(), TimelineId(4));
        left.into_iter().map(|(t, lsn)| (t.0, lsn.0)).collect()
    }

    #[test]
    fn each_ancestor_is_left_where_its_line_says() {
        let text =
            "1\t0/10\tno recovery target specified\n\n3\t1/20\tno recovery target specified\n";
        let left = [(1, 0x10), (3, 0x1_0000_0020)];
        assert_eq!(read(Some(text.as_bytes())), left);
    }

    #[test]
    fn one_that_goes_back_was_never_further_than_its_end() {
        let text = "1\t0/90\tfetched\n2\t0/40\tby hand\n";
        assert_eq!(read(Some(text.as_bytes())), [(1, 0x40), (2, 0x40)]);
        let text = "1\t0/40\tfetched\n2\t0/40\tby hand\n";
        assert_eq!(read(Some(text.as_bytes())), [(1, 0x40), (2, 0x40)]);
    }

    #[test]
    fn what_says_nothing_is_no_error() {
        assert_eq!(read(None), []);
        for text in [
            &b""[..],
            b"garbage\n7\n",
            b"5\t0/10\tof the future\n",
            b"\xff\xfe",
        ] {
            assert_eq!(read(Some(text)), []);
        }
    }
}
