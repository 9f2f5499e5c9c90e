//! What `pg_controldata` says about a data directory (manual, "pg_controldata").

use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::{fs, io};

use pgha_core::{Lsn, SystemIdentifier, TimelineId};
use serde::{Deserialize, Serialize};

use crate::Installation;
use crate::files::{At, FileError};

/// `PG_CONTROL_FILE_SIZE`, versions 10 to 18.
const CONTROL_FILE_BYTES: u64 = 8192;

/// The state that PostgreSQL last wrote into its control file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClusterState {
    /// Just initialised, never started.
    StartingUp,
    /// Cleanly stopped as a primary.
    ShutDown,
    /// Cleanly stopped as a standby.
    ShutDownInRecovery,
    /// Was stopping when last heard of.
    ShuttingDown,
    /// In crash recovery, or interrupted in it.
    InCrashRecovery,
    /// A standby that runs, or was interrupted.
    InArchiveRecovery,
    /// A primary that runs, or crashed.
    InProduction,
}

/// Settings of the primary that a standby may not go below (manual, 27.4.3 "Administrator's
/// Overview"): below them recovery pauses or refuses to start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandbyFloor {
    /// `max_connections`
    pub max_connections: u32,
    /// `max_worker_processes`
    pub max_worker_processes: u32,
    /// `max_wal_senders`
    pub max_wal_senders: u32,
    /// `max_prepared_transactions`
    pub max_prepared_transactions: u32,
    /// `max_locks_per_transaction`
    pub max_locks_per_transaction: u32,
}

/// The control file's content, as far as pgha needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlData {
    /// Drawn by `initdb`.
    pub system_identifier: SystemIdentifier,
    /// State when last written.
    pub state: ClusterState,
    /// The latest checkpoint record.
    pub checkpoint: Lsn,
    /// Where recovery starts.
    pub redo: Lsn,
    /// Timeline of the latest checkpoint. For a moment after a promotion still the old one.
    pub timeline: TimelineId,
    /// A standby is consistent from here on; zero where there was no recovery.
    pub min_recovery_end: Lsn,
    /// Timeline of `min_recovery_end`; zero where there was no recovery.
    pub min_recovery_timeline: TimelineId,
    /// Whether a base backup's end has not been replayed yet.
    pub backup_end_required: bool,
    /// Whether data pages carry checksums.
    pub checksums: bool,
    /// The `wal_log_hints` it last ran with.
    pub wal_log_hints: bool,
    /// The `wal_level` it last ran with.
    pub wal_level: String,
    /// Bytes of one WAL segment file.
    pub wal_segment_bytes: u64,
    /// What a standby may not go below.
    pub floor: StandbyFloor,
}

/// The control file could not be read or understood.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The program did not run, or did not come to an end by itself.
    #[error("cannot run {} on {}: {reason}", program.display(), data_dir.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// The data directory.
        data_dir: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The program could not read the control file.
    #[error("pg_controldata cannot read the control file: {0}")]
    Unread(String),
    /// The checksum of the control file does not match: its values mean nothing.
    #[error(
        "the control file of this data directory is damaged: {0}; it needs a clone or a restore"
    )]
    Damaged(String),
    /// A line is missing.
    #[error("pg_controldata printed no line `{0}`: is it of another PostgreSQL version?")]
    Missing(&'static str),
    /// A line is there more than once: which of them is true is not known.
    #[error("pg_controldata printed the line `{0}` more than once")]
    Repeated(&'static str),
    /// A line has an unexpected value.
    #[error("pg_controldata printed `{key}: {value}`, which is not understood")]
    Value {
        /// The line's name.
        key: &'static str,
        /// Its value.
        value: String,
    },
}

impl ControlData {
    /// Runs `pg_controldata` on a data directory. Blocks for some milliseconds.
    pub fn read(installation: &Installation, data_dir: &Path) -> Result<Self, ControlError> {
        let program = installation.program("pg_controldata");
        let failed = |reason: String| ControlError::Run {
            program: program.clone(),
            data_dir: data_dir.to_owned(),
            reason,
        };
        let output = Command::new(&program)
            .arg("-D")
            .arg(data_dir)
            .env("LC_ALL", "C")
            .output()
            .map_err(|error| failed(error.to_string()))?;
        let words = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
        match output.status.code() {
            Some(0) => Self::printed(&String::from_utf8_lossy(&output.stdout), &words()),
            Some(_) => Err(ControlError::Unread(words())),
            None => Err(failed(format!("{}; {}", output.status, words()))),
        }
    }

    /// Whether a control file is there that is long enough: then whoever cannot read it is at fault.
    pub(crate) fn is_whole(data_dir: &Path) -> Result<bool, FileError> {
        let control_file = data_dir.join("global/pg_control");
        match fs::metadata(&control_file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            found => Ok(found.at("inspect", &control_file)?.len() >= CONTROL_FILE_BYTES),
        }
    }

    /// Older versions print their warnings among the values, newer ones as errors, and all report
    /// success.
    fn printed(values: &str, errors: &str) -> Result<Self, ControlError> {
        match errors.lines().find(|line| line.contains("warning: ")) {
            Some(warning) => Err(ControlError::Damaged(warning.to_owned())),
            None => Self::parse(values),
        }
    }

    /// Parses what `pg_controldata` prints under `LC_ALL=C`, versions 13 to 18.
    pub fn parse(text: &str) -> Result<Self, ControlError> {
        if let Some(warning) = text.lines().find(|line| line.starts_with("WARNING")) {
            return Err(ControlError::Damaged(warning.to_owned()));
        }
        let lines = Lines(text);
        Ok(Self {
            system_identifier: SystemIdentifier(lines.parsed("Database system identifier")?),
            state: lines.parsed("Database cluster state")?,
            checkpoint: lines.parsed("Latest checkpoint location")?,
            redo: lines.parsed("Latest checkpoint's REDO location")?,
            timeline: TimelineId(lines.parsed("Latest checkpoint's TimeLineID")?),
            min_recovery_end: lines.parsed("Minimum recovery ending location")?,
            min_recovery_timeline: TimelineId(lines.parsed("Min recovery ending loc's timeline")?),
            backup_end_required: lines.either("End-of-backup record required", "yes", "no")?,
            checksums: lines.parsed::<u32>("Data page checksum version")? > 0,
            wal_log_hints: lines.either("wal_log_hints setting", "on", "off")?,
            wal_level: lines.text("wal_level setting")?.to_owned(),
            wal_segment_bytes: lines.parsed("Bytes per WAL segment")?,
            floor: StandbyFloor {
                max_connections: lines.parsed("max_connections setting")?,
                max_worker_processes: lines.parsed("max_worker_processes setting")?,
                max_wal_senders: lines.parsed("max_wal_senders setting")?,
                max_prepared_transactions: lines.parsed("max_prepared_xacts setting")?,
                max_locks_per_transaction: lines.parsed("max_locks_per_xact setting")?,
            },
        })
    }

    /// The highest timeline that this data directory is known to have reached while stopped.
    pub fn newest_timeline(&self) -> TimelineId {
        self.timeline.max(self.min_recovery_timeline)
    }
}

impl FromStr for ClusterState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text {
            "starting up" => Self::StartingUp,
            "shut down" => Self::ShutDown,
            "shut down in recovery" => Self::ShutDownInRecovery,
            "shutting down" => Self::ShuttingDown,
            "in crash recovery" => Self::InCrashRecovery,
            "in archive recovery" => Self::InArchiveRecovery,
            "in production" => Self::InProduction,
            _ => return Err(()),
        })
    }
}

struct Lines<'a>(&'a str);

impl<'a> Lines<'a> {
    fn text(&self, key: &'static str) -> Result<&'a str, ControlError> {
        let pairs = self.0.lines().filter_map(|line| line.split_once(':'));
        let mut values = pairs.filter(|(name, _)| name.trim() == key);
        let (_, value) = values.next().ok_or(ControlError::Missing(key))?;
        match values.next() {
            None => Ok(value.trim()),
            Some(_) => Err(ControlError::Repeated(key)),
        }
    }

    fn parsed<T: FromStr>(&self, key: &'static str) -> Result<T, ControlError> {
        let value = self.text(key)?;
        value.parse().map_err(|_| ControlError::Value {
            key,
            value: value.to_owned(),
        })
    }

    fn either(&self, key: &'static str, yes: &str, no: &str) -> Result<bool, ControlError> {
        let value = self.text(key)?;
        if value == yes || value == no {
            return Ok(value == yes);
        }
        Err(ControlError::Value {
            key,
            value: value.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests;
