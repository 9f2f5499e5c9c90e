//! The door: the socket at which the next sidecar finds a guard whose own sidecar has died.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Asks a guard to stop its PostgreSQL, have its epoch released where it has one, and leave. The
/// guard keeps the connection open until it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retire {
    /// How long a fast stop may take before PostgreSQL is stopped immediately.
    pub fast: Duration,
    /// How long that may take, from then on, before the tree is killed.
    pub immediate: Duration,
}

/// Where the door is.
pub(crate) fn path(run_dir: &Path) -> PathBuf {
    run_dir.join("guard.sock")
}

/// Where the guard's process id is written.
pub(crate) fn pid_path(run_dir: &Path) -> PathBuf {
    run_dir.join("guard.pid")
}
