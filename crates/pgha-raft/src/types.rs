//! What openraft is told about pgha, and the few types that both the store and the wire speak of.

use pgha_core::{Applied, ClusterId, Command, Generation, MemberName, RaftId, StoreId};
use pgha_proto::v1;
use serde::{Deserialize, Serialize};

use crate::runtime::PatientRuntime;

openraft::declare_raft_types!(
    /// openraft's parameters: commands of the core in, their outcome out.
    pub(crate) TypeConfig:
        D = Command,
        R = Applied,
        NodeId = u64,
        Node = Peer,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = Vec<u8>,
        AsyncRuntime = PatientRuntime,
);

pub(crate) type Raft = openraft::Raft<TypeConfig>;
pub(crate) type Entry = openraft::Entry<TypeConfig>;
pub(crate) type LogId = openraft::LogId<u64>;
pub(crate) type Vote = openraft::Vote<u64>;
pub(crate) type Membership = openraft::Membership<u64, Peer>;
pub(crate) type StoredMembership = openraft::StoredMembership<u64, Peer>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<u64, Peer>;
pub(crate) type Snapshot = openraft::Snapshot<TypeConfig>;
pub(crate) type StorageError = openraft::StorageError<u64>;

/// A member of the Raft group as its membership entries name it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its name.
    pub name: MemberName,
    /// The store that holds its vote: an address may belong to somebody else by now.
    pub store_id: StoreId,
    /// `host:port` of its gRPC.
    pub address: String,
}

/// One member as the formation of a cluster listed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormedMember {
    /// Its name.
    pub name: MemberName,
    /// Its place in the Raft group.
    pub raft_id: RaftId,
    /// Its store.
    pub store_id: StoreId,
    /// `host:port` of its gRPC.
    pub address: String,
    /// Votes and has no PostgreSQL.
    pub witness: bool,
}

impl From<&FormedMember> for Peer {
    fn from(member: &FormedMember) -> Self {
        Self {
            name: member.name.clone(),
            store_id: member.store_id.clone(),
            address: member.address.clone(),
        }
    }
}

/// The cluster that a store belongs to, and as whom. Persisted before anything is answered in its
/// name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The cluster's name.
    pub cluster: String,
    /// Its identity.
    pub cluster_id: ClusterId,
    /// Raised by a recovery from the loss of the quorum.
    pub generation: Generation,
    /// This member's place in the Raft group.
    pub raft_id: RaftId,
    /// The list that the formation, or the invitation to join, named.
    pub members: Vec<FormedMember>,
}

/// The wire's form of a log id, which is also the public one.
pub(crate) fn log_id_out(id: &LogId) -> v1::LogId {
    v1::LogId {
        term: id.leader_id.term,
        leader_raft_id: id.leader_id.node_id,
        index: id.index,
    }
}
