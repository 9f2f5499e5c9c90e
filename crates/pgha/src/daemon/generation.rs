//! What a member does that hears of a higher generation: the quorum was lost and recovered without
//! it, and whatever it still does in the old one it does beside the cluster (design 6.6).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pgha_core::Generation;
use pgha_proxy::Gate;
use pgha_raft::{RaftNode, Store};

use crate::lease::HolderHandle;
use crate::restart;

/// A disk that takes longer must not keep PostgreSQL alive.
const RULE_OUT_MAX: Duration = Duration::from_secs(1);

/// Waits until somebody of this cluster speaks of a later generation than this member lives in, and
/// then leaves the old one. The gate is closed before a disk is asked for anything; PostgreSQL ends
/// with this process, by its guard.
pub(super) async fn watch(
    raft: Arc<RaftNode>,
    mine: Generation,
    gate: Arc<Gate>,
    holder: HolderHandle,
    raft_dir: PathBuf,
) {
    let mut seen = raft.generation_seen();
    let Ok(newer) = seen.wait_for(|seen| *seen > mine).await.map(|seen| *seen) else {
        return;
    };
    gate.close();
    holder.drop_lease();
    leave(raft_dir, newer).await;
}

/// Moves the store aside and starts anew, as a member without one.
pub(super) async fn leave(raft_dir: PathBuf, newer: Generation) -> ! {
    tracing::error!(
        generation = %newer,
        "the quorum was lost and recovered without this member: it stops, moves its Raft store aside \
         and comes back under a new raft id"
    );
    let rule_out = tokio::task::spawn_blocking(move || Store::rule_out(&raft_dir, newer));
    match tokio::time::timeout(RULE_OUT_MAX, rule_out).await {
        Ok(Ok(Ok(moved_to))) => {
            let moved_to = moved_to.display();
            tracing::warn!("the Raft store was moved to {moved_to}, nothing was deleted");
            restart::again();
        }
        Ok(Ok(Err(error))) => tracing::error!(%error, "the Raft store could not be moved aside"),
        Ok(Err(error)) => tracing::error!(%error, "the Raft store could not be moved aside"),
        Err(_) => tracing::error!("the Raft store was not moved aside within {RULE_OUT_MAX:?}"),
    }
    // The next process asks for the others' generation before it grants anything.
    std::process::exit(1);
}
