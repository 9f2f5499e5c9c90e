//! Going on with one member after the quorum was lost for ever (design 6.6).

use std::time::Duration;

use openraft::EntryPayload;
use pgha_core::command::Recover;
use pgha_core::{ClusterState, Command, Epoch, Generation, Lsn};

use crate::core::Core;
use crate::node::RaftNode;
use crate::store::StoreError;
use crate::types::Peer;

/// What began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The generation in which this member alone votes.
    pub generation: Generation,
    /// The epoch that it is to be primary of.
    pub epoch: Epoch,
}

/// How far a log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogExtent {
    /// Index of the last entry; 0 for none.
    pub last: u64,
    /// Index of the last one that is known to be committed; 0 for none.
    pub committed: u64,
}

/// Why nothing was recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// It does not fit what is in the log; nothing was changed.
    #[error(transparent)]
    Refused(#[from] pgha_core::Refusal),
    /// Raft did not end. Nothing was changed; the process has to end.
    #[error("nothing was changed: {0}")]
    StillRuns(String),
    /// The store could not be written. Whether it was is known at the next start.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk takes too long. Whether it was done is known at the next start; the process has to end.
    #[error("no outcome after {0:?}; whether it was done is known at the next start")]
    TimedOut(Duration),
}

impl RecoverError {
    /// Whether everything goes on as before.
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_))
    }
}

pub(crate) async fn recover(
    node: &RaftNode,
    at: String,
    told: Option<Lsn>,
) -> Result<Recovered, RecoverError> {
    let core = node.core();
    let me = myself(core);
    let store = &core.store;
    // Before anything ends: what would be refused afterwards is refused now.
    let state = after_whole_log(core);
    let begin = |state: &ClusterState, adopted: Epoch| Recover {
        generation: state.generation.next(),
        epoch: state.epoch.max(adopted).next(),
        survivor: me.name.clone(),
        told,
        at: at.clone(),
    };
    let tried = begin(&state, store.adopted_epoch());
    state.clone().apply(u64::MAX, &Command::Recover(tried))?;

    node.end().await.map_err(RecoverError::StillRuns)?;
    let state = after_whole_log(core);
    let begun = |adopted| begin(&state, adopted);
    let Recover {
        generation, epoch, ..
    } = store.recover(me.clone(), begun).await?;
    Ok(Recovered { generation, epoch })
}

/// The state that the log leads to if all of it counts. An entry that is not known
/// to be committed may be: those who would know are gone, and an epoch or a timeline that it gave out
/// must not be given out again.
fn after_whole_log(core: &Core) -> ClusterState {
    let view = core.state.borrow().clone();
    let mut state = view.state.clone();
    let (_, last) = core.store.ends();
    let first = view.applied.map_or(0, |applied| applied.index + 1);
    let end = last.map_or(0, |last| last.index);
    for entry in core.store.entries(first..=end) {
        if let EntryPayload::Normal(command) = &entry.payload {
            // What it refuses it would have refused as well.
            let _ = state.apply(entry.log_id.index, command);
        }
    }
    state
}

/// This member as its own log names it.
fn myself(core: &Core) -> Peer {
    let server = core.server();
    let known = server
        .membership_config
        .membership()
        .get_node(&core.my_id());
    let formed = || {
        let binding = core.store.binding()?;
        let mine = binding.members.iter();
        mine.filter(|member| member.raft_id == binding.raft_id)
            .map(Peer::from)
            .next()
    };
    known.cloned().or_else(formed).unwrap_or_default()
}
