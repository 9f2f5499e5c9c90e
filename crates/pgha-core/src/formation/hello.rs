//! What sidecars say of themselves before they are a cluster.

use std::collections::BTreeMap;

use crate::{ClusterId, Generation, MemberName, StoreId, SystemIdentifier};

/// What a member answers for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// An empty store, and a data directory without the mark of a cluster.
    Nothing,
    /// Bound to a cluster by a Form, without any committed entry.
    Bound(ClusterId),
    /// Has committed entries of this cluster.
    Member {
        /// Which.
        cluster_id: ClusterId,
        /// A quorum confirmed it within this very answer.
        confirmed: bool,
    },
    /// Its store was quarantined.
    Damaged,
    /// Its data directory carries the mark of a cluster, its store is gone.
    Lost,
}

/// A member's answer to a Hello, or this member's own facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Name of the cluster it is for.
    pub cluster: String,
    /// Who answers.
    pub name: MemberName,
    /// Its store.
    pub store_id: StoreId,
    /// Its peer list, name to address.
    pub peers: BTreeMap<MemberName, String>,
    /// What it is.
    pub standing: Standing,
    /// Of the cluster that it is bound to; where a recovery of the quorum ruled its store out, the
    /// generation that it was told of; 0 otherwise.
    pub generation: Generation,
    /// Whose data directory it has.
    pub system_identifier: Option<SystemIdentifier>,
}
