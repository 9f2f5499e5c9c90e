//! What a member does whose Raft store is an old copy of itself (faults 52): what it promised and voted
//! since that copy was made it does not know, so it comes back as one that lost its store (P9).

use std::path::PathBuf;

use pgha_raft::Store;

use crate::restart;

/// Moves the store aside and starts anew, as a member without one.
pub(super) fn leave(raft_dir: PathBuf, told: u64, is: u64) -> ! {
    tracing::error!(
        told,
        is,
        "the Raft store is older than what this member told others of it: an old copy was put back, or \
         the disk lost what it had acknowledged. It is moved aside, and this member comes back under a \
         new raft id"
    );
    match Store::set_aside(&raft_dir) {
        Ok(moved_to) => {
            let moved_to = moved_to.display();
            tracing::warn!("the Raft store was moved to {moved_to}, nothing was deleted");
            restart::again();
        }
        Err(error) => tracing::error!(%error, "the Raft store could not be moved aside"),
    }
    std::process::exit(1);
}
