//! Where the WAL of a stopped PostgreSQL ends.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use pgha_core::{Lsn, TimelineId};

use crate::Installation;
use crate::segment::first_missing;

/// The smallest WAL record: its header alone (`xlogrecord.h`).
const RECORD_BYTES_MIN: u64 = 24;

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
/// to the first record that is not there. What crash recovery would replay ends at the same point.
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
        return Ok(beyond);
    }
    let answer = String::from_utf8_lossy(&output.stderr).into_owned();
    parse(&answer, from).ok_or(WalEndError::Answer {
        timeline,
        from,
        answer,
    })
}

/// Its last words name the last whole record, and mostly the position after it.
fn parse(answer: &str, from: Lsn) -> Option<Lsn> {
    let line = answer
        .lines()
        .rev()
        .find(|line| line.contains("error:") || line.contains("fatal:"))?;
    if line.contains("could not find a valid record after") {
        return Some(from);
    }
    let (_, rest) = line.split_once("error in WAL record at ")?;
    let (last, rest) = rest.split_once(':')?;
    let last: Lsn = last.parse().ok()?;
    let at_least = Lsn(last.0 + RECORD_BYTES_MIN);
    let named = rest
        .split_whitespace()
        .filter_map(|word| word.trim_end_matches([':', ',', ';']).parse::<Lsn>().ok());
    Some(
        named
            .filter(|lsn| *lsn >= at_least)
            .min()
            .unwrap_or(at_least)
            .max(from),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lsn(text: &str) -> Lsn {
        text.parse().expect("an LSN")
    }

    #[test]
    fn reads_what_versions_13_to_18_say() {
        let from = lsn("0/5062000");
        for (answer, end) in [
            (
                "pg_waldump: fatal: error in WAL record at 0/50625A0: invalid record length at \
                 0/50625C8: wanted 24, got 0",
                "0/50625C8",
            ),
            (
                "pg_waldump: error: error in WAL record at 0/50625A0: invalid record length at \
                 0/50625C8: expected at least 24, got 0",
                "0/50625C8",
            ),
            (
                "pg_waldump: error: error in WAL record at 0/5FFFFA0: invalid magic number 0000 in \
                 WAL segment 000000010000000000000006, LSN 0/6000000, offset 0",
                "0/6000000",
            ),
            (
                "pg_waldump: fatal: error in WAL record at 0/5FFFFA0: record with incorrect \
                 prev-link 0/0 at somewhere",
                "0/5FFFFB8",
            ),
            (
                "pg_waldump: fatal: could not find a valid record after 0/5062000",
                "0/5062000",
            ),
        ] {
            assert_eq!(parse(answer, from), Some(lsn(end)), "{answer}");
        }
        assert_eq!(
            parse("pg_waldump: fatal: could not open directory", from),
            None
        );
        assert_eq!(parse("", from), None);
    }
}
