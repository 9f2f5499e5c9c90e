//! PostgreSQL's log.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use super::Site;

/// How much of the log a message about a failed start quotes.
const TAIL_LINES: usize = 3;
const TAIL_BYTES_MAX: u64 = 4096;

impl Site {
    /// Where PostgreSQL's output goes.
    pub(super) fn log_path(&self) -> PathBuf {
        self.layout.run_dir.join("postgres.log")
    }

    /// The end of PostgreSQL's log, for messages about a start that failed.
    pub(crate) fn log_tail(&self) -> String {
        let tail = || -> std::io::Result<String> {
            let mut file = File::open(self.log_path())?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES_MAX)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = tail().unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(TAIL_LINES).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }
}
