//! Members as the cluster knows them.

use serde::{Deserialize, Serialize};

use crate::{RaftId, StoreId};

/// What a member has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberKind {
    /// A PostgreSQL, and a vote.
    Data,
    /// A vote only.
    Witness,
}

/// Where a member is reached; each is `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Addresses {
    /// gRPC of the sidecar: peers and `pgha-ctl`.
    pub raft: String,
    /// The PostgreSQL itself, for replication.
    pub postgres: String,
    /// Health checks and metrics.
    pub http: String,
    /// The port that always is the primary.
    pub proxy_read_write: String,
    /// The port that spreads reads over replicas.
    pub proxy_read_only: String,
}

/// One member of the cluster, as committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Data or witness.
    pub kind: MemberKind,
    /// Its place in the Raft group; a member whose store was lost gets a new one.
    pub raft_id: RaftId,
    /// The store that holds its vote.
    pub store_id: StoreId,
    /// Where it is reached.
    pub addresses: Addresses,
    /// Among equals in the log the higher one is promoted.
    #[serde(default = "default_priority")]
    pub priority: u32,
    /// Never promoted automatically.
    #[serde(default)]
    pub excluded: bool,
}

const fn default_priority() -> u32 {
    100
}

impl Member {
    /// A member with the default priority.
    pub fn new(kind: MemberKind, raft_id: RaftId, store_id: StoreId, addresses: Addresses) -> Self {
        Self {
            kind,
            raft_id,
            store_id,
            addresses,
            priority: default_priority(),
            excluded: false,
        }
    }

    /// Whether it has a PostgreSQL.
    pub fn has_data(&self) -> bool {
        self.kind == MemberKind::Data
    }
}
