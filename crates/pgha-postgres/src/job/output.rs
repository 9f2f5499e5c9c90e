//! Reading what the programs say.

use std::collections::VecDeque;

use pgha_core::{Lsn, TimelineId};

use super::Progress;

const TAIL_LINES_MAX: usize = 12;
const LINE_CHARS_MAX: usize = 400;

/// The last lines of a program that are worth showing.
#[derive(Debug, Default)]
pub(crate) struct Tail(VecDeque<String>);

impl Tail {
    pub(crate) fn push(&mut self, line: &str) {
        if self.0.len() == TAIL_LINES_MAX {
            self.0.pop_front();
        }
        self.0
            .push_back(line.chars().take(LINE_CHARS_MAX).collect());
    }

    pub(crate) fn text(&self) -> String {
        if self.0.is_empty() {
            return "(it said nothing)".to_owned();
        }
        self.0
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("; ")
    }
}

/// `  2341/ 23456 kB (10%), 0/1 tablespace` of `pg_basebackup`, ` 123/4567 kB (2%) copied` of
/// `pg_rewind`.
pub(crate) fn progress(line: &str) -> Option<Progress> {
    let (numbers, rest) = line.split_once(" kB (")?;
    if !rest.contains('%') {
        return None;
    }
    let (done, total) = numbers.split_once('/')?;
    let bytes = |text: &str| text.trim().parse::<u64>().ok()?.checked_mul(1024);
    Some(Progress {
        done_bytes: bytes(done)?,
        total_bytes: bytes(total)?,
    })
}

/// `pg_rewind: servers diverged at WAL location 0/3000060 on timeline 1`.
pub(crate) fn diverged(line: &str) -> Option<(Lsn, TimelineId)> {
    let (_, rest) = line.split_once("servers diverged at WAL location ")?;
    let (lsn, timeline) = rest.split_once(" on timeline ")?;
    Some((lsn.parse().ok()?, TimelineId(timeline.trim().parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_progress() {
        let line = "    2341/   23456 kB (10%), 0/1 tablespace (...a/base/1/1259)";
        assert_eq!(
            progress(line),
            Some(Progress {
                done_bytes: 2341 * 1024,
                total_bytes: 23456 * 1024
            })
        );
        assert!(progress("   123/ 4567 kB (2%) copied").is_some());
        assert!(progress("waiting for checkpoint").is_none());
    }

    #[test]
    fn reads_the_point_of_divergence() {
        let line = "pg_rewind: servers diverged at WAL location 0/3000060 on timeline 1";
        assert_eq!(diverged(line), Some((Lsn(0x0300_0060), TimelineId(1))));
        assert_eq!(diverged("pg_rewind: no rewind required"), None);
    }

    proptest! {
        #[test]
        fn any_line_is_read(line in "\\PC*") {
            let mut tail = Tail::default();
            tail.push(&line);
            prop_assert!(tail.text().chars().count() <= LINE_CHARS_MAX + 32);
            let _ = (progress(&line), diverged(&line));
        }
    }
}
