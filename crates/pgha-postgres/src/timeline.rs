//! Timelines: history files, and assigning a number of our own choice to a promotion.
//!
//! PostgreSQL takes the next number for which there is no history file. Two standbys promoted
//! independently take the same one with byte-identical files, so numbers are assigned by the
//! cluster, and all between are blocked by empty files before the promotion.

mod departures;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use pgha_core::{Lsn, TimelineId};

use crate::files::{At, FileError, read_if_present, sync_directory};

pub use departures::departures;

/// Most files that one promotion may have to write. A larger gap is a mistake of the caller, and
/// must not fill the disk.
const GAP_MAX: u32 = 10_000;

/// One ancestor of a timeline: a line of a history file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ancestor {
    /// The ancestor.
    pub timeline: TimelineId,
    /// Where its successor left it.
    pub switch: Lsn,
}

/// A timeline could not be blocked, read or verified.
#[derive(Debug, thiserror::Error)]
pub enum TimelineError {
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// The assigned number is not above the own one.
    #[error(
        "timeline {assigned} cannot be assigned to a data directory on timeline {own}: it must be higher"
    )]
    NotAbove {
        /// The data directory's timeline.
        own: TimelineId,
        /// The assigned one.
        assigned: TimelineId,
    },
    /// The gap is absurd.
    #[error(
        "timeline {assigned} is more than {GAP_MAX} above {own}: refusing to write that many history files"
    )]
    Gap {
        /// The data directory's timeline.
        own: TimelineId,
        /// The assigned one.
        assigned: TimelineId,
    },
    /// Somebody already used that number here.
    #[error("{} exists: timeline {assigned} has been used before and must not be assigned again", path.display())]
    Taken {
        /// The history file.
        path: PathBuf,
        /// The assigned number.
        assigned: TimelineId,
    },
    /// The promotion left no history file, or an empty one.
    #[error("{} is missing or empty: the promotion to timeline {timeline} did not happen", path.display())]
    NoHistory {
        /// The file.
        path: PathBuf,
        /// The timeline.
        timeline: TimelineId,
    },
    /// A line is not understood.
    #[error("history file of timeline {timeline}, line `{line}` is not understood")]
    Line {
        /// The timeline.
        timeline: TimelineId,
        /// The line.
        line: String,
    },
    /// The history cannot be true.
    #[error(
        "history of timeline {timeline} does not increase at timeline {at}: it mixes lines of \
         different promotions, the promotion is void"
    )]
    NotIncreasing {
        /// The timeline.
        timeline: TimelineId,
        /// The offending ancestor.
        at: TimelineId,
    },
    /// The new timeline grew out of another one than it should have.
    #[error(
        "timeline {timeline} grew out of timeline {found}, not {expected}: the promotion is void"
    )]
    Parent {
        /// The new timeline.
        timeline: TimelineId,
        /// Its parent by the history file.
        found: TimelineId,
        /// The parent it should have.
        expected: TimelineId,
    },
}

/// The history file of a timeline inside a data directory.
pub fn history_path(data_dir: &Path, timeline: TimelineId) -> PathBuf {
    data_dir
        .join("pg_wal")
        .join(format!("{:08X}.history", timeline.0))
}

/// Puts empty history files for all numbers between `own` and `assigned` into `pg_wal`, so that
/// a promotion takes exactly `assigned`. Existing ones are kept. Repeating it changes nothing.
pub fn block_timelines(
    data_dir: &Path,
    own: TimelineId,
    assigned: TimelineId,
) -> Result<(), TimelineError> {
    if assigned <= own {
        return Err(TimelineError::NotAbove { own, assigned });
    }
    if assigned.0 - own.0 > GAP_MAX {
        return Err(TimelineError::Gap { own, assigned });
    }
    let path = history_path(data_dir, assigned);
    if fs::exists(&path).at("inspect", &path)? {
        return Err(TimelineError::Taken { path, assigned });
    }
    for number in own.0 + 1..assigned.0 {
        create_empty(&history_path(data_dir, TimelineId(number)))?;
    }
    Ok(sync_directory(&data_dir.join("pg_wal"))?)
}

fn create_empty(path: &Path) -> Result<(), FileError> {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(file) => file.sync_all().at("flush", path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error).at("create", path),
    }
}

/// Removes empty history files above every timeline that has a real one and above `own`: a
/// promotion that was prepared and never happened. A standby that starts with `latest` would take
/// the highest of them for its target and refuse to start, because nothing leads there.
pub fn unblock_timelines(
    data_dir: &Path,
    own: TimelineId,
) -> Result<Vec<TimelineId>, TimelineError> {
    let histories = histories(data_dir)?;
    let real = histories
        .iter()
        .filter(|(_, bytes)| *bytes > 0)
        .map(|(timeline, _)| *timeline);
    let newest = real.max().unwrap_or(own).max(own);
    let mut removed = Vec::new();
    for (timeline, _) in histories
        .into_iter()
        .filter(|(timeline, _)| *timeline > newest)
    {
        let path = history_path(data_dir, timeline);
        fs::remove_file(&path).at("remove", &path)?;
        removed.push(timeline);
    }
    removed.sort();
    sync_directory(&data_dir.join("pg_wal"))?;
    Ok(removed)
}

/// The highest timeline for which `pg_wal` holds a history file that is not empty.
pub fn newest_history(data_dir: &Path) -> Result<Option<TimelineId>, TimelineError> {
    let histories = histories(data_dir)?;
    Ok(histories
        .into_iter()
        .filter(|(_, bytes)| *bytes > 0)
        .map(|(timeline, _)| timeline)
        .max())
}

/// All history files with their sizes.
fn histories(data_dir: &Path) -> Result<Vec<(TimelineId, u64)>, FileError> {
    let dir = data_dir.join("pg_wal");
    let mut found = Vec::new();
    for entry in fs::read_dir(&dir).at("list", &dir)? {
        let entry = entry.at("list", &dir)?;
        let name = entry.file_name();
        let Some(timeline) = name.to_str().and_then(timeline_of) else {
            continue;
        };
        let bytes = entry.metadata().at("inspect", &entry.path())?.len();
        found.push((timeline, bytes));
    }
    Ok(found)
}

fn timeline_of(file_name: &str) -> Option<TimelineId> {
    let digits = file_name.strip_suffix(".history")?;
    let upper = |byte: u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte);
    if digits.len() != 8 || !digits.bytes().all(upper) {
        return None;
    }
    u32::from_str_radix(digits, 16).ok().map(TimelineId)
}

/// Parses a history file: ancestors, oldest first. Refuses one whose numbers or positions do not
/// increase, as it joins pieces of different lines.
pub fn parse_history(timeline: TimelineId, text: &str) -> Result<Vec<Ancestor>, TimelineError> {
    let mut ancestors: Vec<Ancestor> = Vec::new();
    for line in text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let wrong = || TimelineError::Line {
            timeline,
            line: line.to_owned(),
        };
        let mut words = line.split_whitespace();
        let number = words
            .next()
            .and_then(|word| word.parse().ok())
            .ok_or_else(wrong)?;
        let switch = words
            .next()
            .and_then(|word| word.parse().ok())
            .ok_or_else(wrong)?;
        // Cut off inside its digits, a position would be another one.
        if words.next().is_none() && text.ends_with(line) {
            return Err(wrong());
        }
        let next = Ancestor {
            timeline: TimelineId(number),
            switch,
        };
        let increases = ancestors
            .last()
            .is_none_or(|last| last.timeline < next.timeline && last.switch < next.switch);
        if !increases || next.timeline >= timeline {
            return Err(TimelineError::NotIncreasing {
                timeline,
                at: next.timeline,
            });
        }
        ancestors.push(next);
    }
    Ok(ancestors)
}

/// Reads the history of a timeline from `pg_wal`. The root timeline has none.
pub fn read_history(data_dir: &Path, timeline: TimelineId) -> Result<Vec<Ancestor>, TimelineError> {
    let path = history_path(data_dir, timeline);
    let text = read_if_present(&path)?.filter(|text| !text.is_empty());
    parse_history(
        timeline,
        &text.ok_or(TimelineError::NoHistory { path, timeline })?,
    )
}

/// Verifies a promotion to `assigned` by its history file: it increases, and it grew out of
/// `parent`. Returns where it left the parent.
pub fn verify_promoted(
    data_dir: &Path,
    parent: TimelineId,
    assigned: TimelineId,
) -> Result<Lsn, TimelineError> {
    let ancestors = read_history(data_dir, assigned)?;
    match ancestors.last() {
        Some(last) if last.timeline == parent => Ok(last.switch),
        Some(last) => Err(TimelineError::Parent {
            timeline: assigned,
            found: last.timeline,
            expected: parent,
        }),
        None => Err(TimelineError::NoHistory {
            path: history_path(data_dir, assigned),
            timeline: assigned,
        }),
    }
}

/// Flushes an existing history file; for callers that copied one.
pub fn sync_history(data_dir: &Path, timeline: TimelineId) -> Result<(), TimelineError> {
    let path = history_path(data_dir, timeline);
    File::open(&path)
        .and_then(|file| file.sync_all())
        .at("flush", &path)?;
    Ok(sync_directory(&data_dir.join("pg_wal"))?)
}

#[cfg(test)]
mod tests;
