//! What a member does that hears of a higher generation: the quorum was lost and recovered without
//! it, and whatever it still does in the old one it does beside the cluster (design 6.6).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pgha_core::Generation;
use pgha_proxy::Gate;
use pgha_raft::{RaftNode, Store};

use super::leave;
use crate::lease::HolderHandle;

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
    leave(raft_dir, newer, leave::RUNNING_MAX).await;
}

/// Moves the store aside and starts anew, as a member without one.
pub(super) async fn leave(raft_dir: PathBuf, newer: Generation, within: Duration) -> ! {
    tracing::error!(
        generation = %newer,
        "the quorum was lost and recovered without this member: it stops, moves its Raft store aside \
         and comes back under a new raft id"
    );
    leave::leave(move || Store::rule_out(&raft_dir, newer), within).await
}
