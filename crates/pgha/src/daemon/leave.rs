//! Moving this member's Raft store aside, to come back without it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::restart;

/// A disk that takes longer must not keep PostgreSQL alive.
pub(super) const RUNNING_MAX: Duration = Duration::from_secs(1);
/// Before anything is served a slow disk is waited for: the next process would find it as slow.
pub(super) const STARTING_MAX: Duration = Duration::from_secs(30);

/// Does `aside` and starts this member anew; a failure ends the process, and the next one begins with
/// the same question.
pub(super) async fn leave(
    aside: impl FnOnce() -> io::Result<PathBuf> + Send + 'static,
    within: Duration,
) -> ! {
    match tokio::time::timeout(within, tokio::task::spawn_blocking(aside)).await {
        Ok(Ok(Ok(moved_to))) => {
            let moved_to = moved_to.display();
            tracing::warn!("the Raft store was moved to {moved_to}, nothing was deleted");
            restart::again();
        }
        Ok(Ok(Err(error))) => tracing::error!(%error, "the Raft store could not be moved aside"),
        Ok(Err(error)) => tracing::error!(%error, "the Raft store could not be moved aside"),
        Err(_) => tracing::error!("the Raft store was not moved aside within {within:?}"),
    }
    std::process::exit(1);
}
