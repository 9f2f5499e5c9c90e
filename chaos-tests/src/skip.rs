//! Tests that cannot run here say so where somebody sees it.

use std::fmt::Display;
use std::io::Write;

/// Writes it to the terminal itself: of a test that passes the runner shows nothing that was printed.
pub fn say(test: &str, reason: impl Display) {
    let mut terminal = std::io::stderr();
    let _closed = writeln!(terminal, "SKIPPED {test}: {reason}");
}
