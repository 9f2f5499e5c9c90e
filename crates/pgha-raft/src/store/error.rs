//! What can go wrong with a store, by what the caller does next.

use std::io;
use std::path::PathBuf;

use pgha_core::{ClusterId, Generation};

use super::record::RecordError;

/// Why a store does not open, or did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error(
        "the Raft store {dir} is in use by {holder}: stop that process, or give this one another data_dir"
    )]
    Locked {
        /// The store.
        dir: PathBuf,
        /// Who, as far as the lock file tells.
        holder: String,
    },
    /// The host refuses; the content was not judged.
    #[error("the Raft store {dir} cannot be used, {action} failed: {reason}")]
    Host {
        /// The store.
        dir: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The operating system's words.
        reason: String,
    },
    /// Something in it is not what was written. It was moved aside whole; nothing was deleted.
    #[error(
        "the Raft store {dir} is damaged: {found}. It was moved to {moved_to} and will not be used \
         again, as a forgotten vote could elect two leaders. The way out: start this member again, \
         it joins the cluster anew from the others; if most members are in this state, restore one \
         store from there and run `pgha-ctl quorum recover`"
    )]
    Quarantined {
        /// The store.
        dir: PathBuf,
        /// What was found.
        found: String,
        /// Where it is now.
        moved_to: PathBuf,
    },
    /// The cluster went on without it. It was moved aside whole; nothing was deleted.
    #[error(
        "the quorum was lost and recovered without the Raft store {dir}: the cluster is of generation \
         {generation} by now. The store was moved to {moved_to} and will not be used again; this \
         member joins the cluster anew from the others"
    )]
    RuledOut {
        /// The store.
        dir: PathBuf,
        /// The generation that this member was told of.
        generation: Generation,
        /// Where it is now.
        moved_to: PathBuf,
    },
    /// It belongs to no cluster, so that there is nothing to go on with.
    #[error("this store belongs to no cluster: there is nothing to recover")]
    Unbound,
    /// Damaged, and it could not even be moved aside.
    #[error(
        "the Raft store {dir} is damaged: {found}. It could not be moved to {target} ({reason}): \
         move it away by hand, do not delete it, and start this member again"
    )]
    QuarantineFailed {
        /// The store.
        dir: PathBuf,
        /// What was found.
        found: String,
        /// Where it should have gone.
        target: PathBuf,
        /// Why it did not.
        reason: String,
    },
    /// A write failed earlier. What is on disk is unknown from there on; the process has to end.
    #[error("the Raft store takes no more writes: {0}")]
    Failed(StoreFailure),
    /// It belongs to a cluster already.
    #[error("this store belongs to cluster {bound_to}, it cannot be bound to {wanted}")]
    BoundElsewhere {
        /// Whose it is.
        bound_to: ClusterId,
        /// Whose it should become.
        wanted: ClusterId,
    },
    /// It holds committed entries.
    #[error(
        "this store holds committed entries of cluster {0}, it cannot be unbound: remove the member \
         from its cluster and start it with an empty data_dir instead"
    )]
    NotPristine(ClusterId),
    /// One record would be larger than the store can make durable.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// The write that failed. Final: a failed fsync may have dropped what it should have written, and
/// says so only once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{action} failed: {reason}; this process has to end, the next one checks what is on disk")]
pub struct StoreFailure {
    /// What was tried.
    pub action: &'static str,
    /// The operating system's words.
    pub reason: String,
}

impl From<StoreFailure> for io::Error {
    fn from(failure: StoreFailure) -> Self {
        Self::other(failure)
    }
}
