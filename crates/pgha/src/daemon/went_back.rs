//! What a member does whose Raft store is an old copy of itself (faults 52): what it promised and voted
//! since that copy was made it does not know, so it comes back as one that lost its store (P9).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pgha_core::RaftId;
use pgha_proxy::Gate;
use pgha_raft::Store;
use tokio::sync::watch;

use super::leave;
use crate::lease::HolderHandle;
use crate::written::WentBack;

/// Waits until somebody proves it, for as long as this process lives: those who remember may have been
/// out of reach when it started.
pub(super) async fn watch(
    mut proof: watch::Receiver<Option<WentBack>>,
    gate: Arc<Gate>,
    holder: HolderHandle,
    raft_dir: PathBuf,
) {
    let Ok(Some(proof)) = proof.wait_for(Option::is_some).await.map(|proof| *proof) else {
        return;
    };
    gate.close();
    holder.drop_lease();
    leave(raft_dir, proof, leave::RUNNING_MAX).await;
}

/// The same for a store that the member had before it lost it: nobody calls it by that raft id any more.
pub(super) async fn leave_replaced(
    raft_dir: PathBuf,
    was: RaftId,
    by: RaftId,
    within: Duration,
) -> ! {
    tracing::error!(
        %was,
        %by,
        "the Raft store is one that this member had before it came back under another raft id: an old copy \
         was put back. It is moved aside, and this member comes back under a new raft id"
    );
    leave::leave(move || Store::set_aside(&raft_dir), within).await
}

/// Moves the store aside and starts anew, as a member without one.
pub(super) async fn leave(raft_dir: PathBuf, proof: WentBack, within: Duration) -> ! {
    let WentBack { told, is } = proof;
    tracing::error!(
        told,
        is,
        "the Raft store is older than what this member told others of it: an old copy was put back, or \
         the disk lost what it had acknowledged. It is moved aside, and this member comes back under a \
         new raft id"
    );
    leave::leave(move || Store::set_aside(&raft_dir), within).await
}
