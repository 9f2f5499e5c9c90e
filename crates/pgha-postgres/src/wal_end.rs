//! Where the WAL of a stopped PostgreSQL ends.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use pgha_core::{Lsn, TimelineId};

use crate::Installation;
use crate::segment::{WAL_PAGE_BYTES, first_missing, segment_bytes, segment_name};

/// A page begins with a header, a longer one where a segment begins (`xlog_internal.h`).
const PAGE_HEADER_BYTES: u64 = 24;
const SEGMENT_HEADER_BYTES: u64 = 40;
/// In the header of a segment (`XLogLongPageHeaderData.xlp_xlog_blcksz`).
const PAGE_BYTES_AT: u64 = 36;
/// Where a record begins (`MAXIMUM_ALIGNOF`).
const ALIGNMENT_BYTES: u64 = 8;

/// The end of WAL was not found.
#[derive(Debug, thiserror::Error)]
pub enum WalEndError {
    /// The program did not run.
    #[error("cannot run {program}: {error}; install PostgreSQL's server package")]
    Program {
        /// Its path.
        program: String,
        /// The operating system's error.
        error: io::Error,
    },
    /// It said something else than where the WAL ends.
    #[error("pg_waldump does not tell where timeline {timeline} ends after {from}: {answer}")]
    Answer {
        /// The timeline that was read.
        timeline: TimelineId,
        /// From where.
        from: Lsn,
        /// Its last words.
        answer: String,
    },
}

/// Reads `pg_wal` of a stopped PostgreSQL from `from`, a position that it is known to have flushed,
/// to the first record that is not there. What crash recovery would replay ends at the same point, or at
/// the end of the segment where the last record is a forced switch of segments.
/// Takes as long as reading that much WAL: not for the runtime's threads.
pub fn end_of_wal(
    installation: &Installation,
    data_dir: &Path,
    timeline: TimelineId,
    from: Lsn,
) -> Result<Lsn, WalEndError> {
    end_in(installation, &data_dir.join("pg_wal"), timeline, from)
}

/// The same, from a directory of segments.
pub(crate) fn end_in(
    installation: &Installation,
    wal_dir: &Path,
    timeline: TimelineId,
    from: Lsn,
) -> Result<Lsn, WalEndError> {
    // For a segment that is not there pg_waldump waits five seconds, in which this member would not answer
    // and another one be promoted.
    let beyond = first_missing(wal_dir, timeline, from);
    if let Some(beyond) = beyond
        && beyond <= from
    {
        // The last segment was full to its end, or what was flushed is not there.
        let is_end = beyond == from;
        return is_end.then_some(from).ok_or_else(|| WalEndError::Answer {
            timeline,
            from,
            answer: format!("there is no segment from {beyond} on"),
        });
    }
    let mut last = last_record(installation, wal_dir, timeline, from, beyond)?;
    if last == Last::Nothing
        && let Some(before) = before(wal_dir, timeline, from)
    {
        last = last_record(installation, wal_dir, timeline, before, beyond)?;
    }
    match last {
        Last::Nothing => Ok(from),
        Last::BeforeMissing(end) => Ok(end),
        Last::At(last) => record_end(wal_dir, timeline, last)
            .map(|end| end.max(from))
            .ok_or_else(|| WalEndError::Answer {
                timeline,
                from,
                answer: format!("the record at {last} has no length in pages of {WAL_PAGE_BYTES}"),
            }),
    }
}

/// What was flushed may end with a page, in the middle of a record that is whole by now: where nothing
/// begins after it, that one is the last. It began in the same segment, or in the one before.
fn before(wal_dir: &Path, timeline: TimelineId, from: Lsn) -> Option<Lsn> {
    if !from.0.is_multiple_of(WAL_PAGE_BYTES) {
        return None;
    }
    let segment_bytes = segment_bytes(wal_dir)?;
    let inside = Lsn(from.0.checked_sub(1)?);
    let name = segment_name(timeline, inside, segment_bytes);
    let begin = Lsn(inside.0 / segment_bytes * segment_bytes);
    wal_dir.join(name).exists().then_some(begin)
}

/// The last whole record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// None begins there or later.
    Nothing,
    At(Lsn),
    /// All are whole up to the segment that begins there, which is not there.
    BeforeMissing(Lsn),
}

fn last_record(
    installation: &Installation,
    wal_dir: &Path,
    timeline: TimelineId,
    from: Lsn,
    beyond: Option<Lsn>,
) -> Result<Last, WalEndError> {
    let program = installation.program("pg_waldump");
    let output = Command::new(&program)
        .args(beyond.map(|beyond| format!("--end={beyond}")))
        .arg("--quiet")
        .arg("--path")
        .arg(wal_dir)
        .arg(format!("--timeline={timeline}"))
        .arg(format!("--start={from}"))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| WalEndError::Program {
            program: program.display().to_string(),
            error,
        })?;
    if let Some(beyond) = beyond
        && output.status.success()
    {
        return Ok(Last::BeforeMissing(beyond));
    }
    let answer = String::from_utf8_lossy(&output.stderr).into_owned();
    parse(&answer).ok_or(WalEndError::Answer {
        timeline,
        from,
        answer,
    })
}

/// Its last words name the last whole record. The position after it they only name where the next record
/// has no length: where it came in part, they name a page, or nothing.
fn parse(answer: &str) -> Option<Last> {
    let line = answer
        .lines()
        .rev()
        .find(|line| line.contains("error:") || line.contains("fatal:"))?;
    if line.contains("could not find a valid record after") {
        return Some(Last::Nothing);
    }
    let (_, rest) = line.split_once("error in WAL record at ")?;
    let (last, _) = rest.split_once(':')?;
    Some(Last::At(last.parse().ok()?))
}

/// Where a whole record ends: its length is the first that it has (`XLogRecord.xl_tot_len`).
fn record_end(wal_dir: &Path, timeline: TimelineId, record: Lsn) -> Option<Lsn> {
    let segment_bytes = segment_bytes(wal_dir)?;
    let name = segment_name(timeline, record, segment_bytes);
    let file = File::open(wal_dir.join(name)).ok()?;
    let number = |at| {
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, at).ok()?;
        Some(u32::from_ne_bytes(bytes))
    };
    let in_our_pages = u64::from(number(PAGE_BYTES_AT)?) == WAL_PAGE_BYTES;
    let length = number(record.0 % segment_bytes)?;
    in_our_pages.then(|| after(record, length, segment_bytes))
}

/// The end of a record of that length, page headers in it counted.
fn after(record: Lsn, length: u32, segment_bytes: u64) -> Lsn {
    let mut end = record.0;
    let mut rest = u64::from(length);
    loop {
        let room = WAL_PAGE_BYTES - end % WAL_PAGE_BYTES;
        if rest <= room {
            return Lsn((end + rest).next_multiple_of(ALIGNMENT_BYTES));
        }
        rest -= room;
        end += room;
        end += if end.is_multiple_of(segment_bytes) {
            SEGMENT_HEADER_BYTES
        } else {
            PAGE_HEADER_BYTES
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lsn(text: &str) -> Lsn {
        text.parse().expect("an LSN")
    }

    #[test]
    fn reads_what_versions_13_to_18_say() {
        for (answer, last) in [
            (
                "pg_waldump: fatal: error in WAL record at 0/50625A0: invalid record length at \
                 0/50625C8: wanted 24, got 0",
                Last::At(lsn("0/50625A0")),
            ),
            (
                "pg_waldump: error: error in WAL record at 0/50625A0: invalid record length at \
                 0/50625C8: expected at least 24, got 0",
                Last::At(lsn("0/50625A0")),
            ),
            (
                "pg_waldump: error: error in WAL record at 0/5FFFFA0: invalid magic number 0000 in \
                 WAL segment 000000010000000000000006, LSN 0/6000000, offset 0",
                Last::At(lsn("0/5FFFFA0")),
            ),
            (
                "pg_waldump: fatal: error in WAL record at 0/5FFFFA0: record with incorrect \
                 prev-link 0/0 at somewhere",
                Last::At(lsn("0/5FFFFA0")),
            ),
            (
                "pg_waldump: fatal: could not find a valid record after 0/5062000",
                Last::Nothing,
            ),
        ] {
            assert_eq!(parse(answer), Some(last), "{answer}");
        }
        assert_eq!(parse("pg_waldump: fatal: could not open directory"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn a_record_ends_behind_the_headers_in_it() {
        let segment = 1 << 20;
        for (record, length, end) in [
            ("0/50625A0", 34, "0/50625C8"),
            // To the very end of a page, and 8 bytes over it.
            ("0/5063FD8", 40, "0/5064000"),
            ("0/5063FD8", 48, "0/5064020"),
            ("0/50FFFD8", 48, "0/5100030"),
            ("0/5063FD8", 40 + 8168 + 16, "0/5066028"),
        ] {
            assert_eq!(after(lsn(record), length, segment), lsn(end), "{record}");
        }
    }
}
