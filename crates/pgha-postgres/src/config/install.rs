//! Making a data directory read `pgha.conf` last.

use std::path::Path;

use super::managed::{INCLUDE_FILE, ManagedError, ManagedSettings};
use crate::files::{read_if_present, write_atomically};

const LINE: &str = "include 'pgha.conf'";

/// Prepares a data directory for a start with these settings. To be called before each start:
/// `pg_basebackup` and `pg_rewind` bring another member's files. A directory whose
/// `postgresql.conf` lies elsewhere (Debian's own clusters) gets one of its own.
pub fn install(data_dir: &Path, settings: &ManagedSettings) -> Result<(), ManagedError> {
    settings.write(data_dir)?;
    let path = data_dir.join("postgresql.conf");
    let text = read_if_present(&path)?.unwrap_or_default();
    if let Some(text) = with_include_last(&text) {
        write_atomically(&path, text.as_bytes())?;
    }
    debug_assert!(LINE.contains(INCLUDE_FILE));
    Ok(())
}

/// The text with the include as its last line; none where it is already.
fn with_include_last(text: &str) -> Option<String> {
    let mut lines: Vec<_> = text.lines().collect();
    while lines.last().is_some_and(|line| line.trim().is_empty()) {
        lines.pop();
    }
    if lines.last().is_some_and(|line| line.trim() == LINE) {
        return None;
    }
    lines.retain(|line| line.trim() != LINE);
    lines.push(LINE);
    Some(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_include_is_last_and_there_once() {
        let once = with_include_last("port = 1\n").unwrap();
        assert_eq!(once, "port = 1\ninclude 'pgha.conf'\n");
        assert_eq!(with_include_last(&once), None);
        let edited = format!("{once}fsync = off\n");
        assert_eq!(
            with_include_last(&edited).unwrap(),
            "port = 1\nfsync = off\ninclude 'pgha.conf'\n"
        );
        assert_eq!(with_include_last("").unwrap(), "include 'pgha.conf'\n");
    }
}
