//! The replicated state: what the cluster is and who is primary.

mod apply;
mod change;
mod fitness;
mod loss;
mod recover;
mod refusal;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::journal::{Cause, JournalEntry};
use crate::lineage::Lineage;
use crate::{
    ClusterId, Epoch, Generation, Lsn, Member, MemberName, Nonce, RaftId, Secret, Settings,
    StartKind, SystemIdentifier, TimelineId,
};

pub use fitness::Fitness;
pub use refusal::{Applied, Refusal};

#[cfg(test)]
mod tests;

/// Everything that the members agree on. Changed by [`ClusterState::apply`] alone.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterState {
    /// The cluster's name.
    pub cluster: String,
    /// Its id; empty before [`crate::Command::Create`].
    pub cluster_id: ClusterId,
    /// Raised by recovery from the loss of a quorum.
    pub generation: Generation,
    /// Of the PostgreSQL that all data members share.
    pub system_identifier: Option<SystemIdentifier>,
    /// Everybody.
    pub members: BTreeMap<MemberName, Member>,
    /// Raft ids that had a vote until the quorum was lost for ever: whoever has one of them has none
    /// any more, and comes back under a new one.
    pub ruled_out: BTreeSet<RaftId>,
    /// The newest epoch.
    pub epoch: Epoch,
    /// What the epoch has come to.
    pub phase: Phase,
    /// The last member whose gate opened, and in which epoch.
    pub last_primary: Option<LastPrimary>,
    /// Timelines.
    pub lineage: Lineage,
    /// A planned change of primary.
    pub handover: Option<Handover>,
    /// Whether automatic changes are off.
    pub paused: bool,
    /// Settings.
    pub settings: Settings,
    /// Password of the replication role.
    pub replication_secret: Secret,
    /// Changes of primary, oldest first.
    pub journal: Vec<JournalEntry>,
}

/// What the newest epoch has come to.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// No cluster, or no data directory ordered yet.
    #[default]
    Empty,
    /// The first data directory was ordered.
    Bootstrap {
        /// From whom.
        node: MemberName,
    },
    /// Nobody is primary: positions are being reported.
    Revoked(Revoked),
    /// A primary is named.
    Primary(PrimaryRecord),
}

/// An epoch that has no primary yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// Raft index of the Revoke: reports name it.
    pub index: u64,
    /// Why.
    pub cause: Cause,
    /// Who was named primary by the epoch before, whether it opened or not.
    pub previous: Option<PrimaryRecord>,
    /// Who a switchover or failover is for.
    pub target: Option<MemberName>,
    /// How far the old primary's WAL goes, where that was known only to a process that has ended.
    #[serde(default)]
    pub told: Option<Lsn>,
}

/// The primary of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrimaryRecord {
    /// The epoch.
    pub epoch: Epoch,
    /// Who.
    pub node: MemberName,
    /// The process that may hold the lease.
    pub nonce: Nonce,
    /// How it becomes primary.
    pub kind: StartKind,
    /// Its timeline.
    pub timeline: TimelineId,
    /// The timeline that it comes from.
    pub parent: TimelineId,
    /// End of WAL that it reported.
    pub lsn: Lsn,
    /// How far the one before it was known to have come, where no operator gave the rest up.
    #[serde(default)]
    pub known_end: Lsn,
    /// Whether its gate opened.
    pub opened: bool,
    /// Raft index of the entry.
    pub index: u64,
}

/// See [`ClusterState::last_primary`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastPrimary {
    /// Who.
    pub node: MemberName,
    /// When.
    pub epoch: Epoch,
}

/// A planned change of primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// The epoch that is to end.
    pub epoch: Epoch,
    /// Who is to be primary.
    pub target: Option<MemberName>,
    /// How long it may take, in milliseconds.
    pub deadline_ms: u64,
    /// Raft index of the entry.
    pub index: u64,
}

impl ClusterState {
    /// The named primary, opened or not.
    pub const fn primary(&self) -> Option<&PrimaryRecord> {
        match &self.phase {
            Phase::Primary(record) => Some(record),
            Phase::Empty | Phase::Bootstrap { .. } | Phase::Revoked(_) => None,
        }
    }

    /// Whether the cluster exists.
    pub fn is_created(&self) -> bool {
        !self.cluster_id.as_str().is_empty()
    }

    /// Whether a recovery from the loss of the quorum took this member's vote, and it has not come
    /// back since.
    pub fn is_ruled_out(&self, member: &Member) -> bool {
        self.ruled_out.contains(&member.raft_id)
    }

    /// The members with a PostgreSQL.
    pub fn data_members(&self) -> impl Iterator<Item = (&MemberName, &Member)> {
        self.members.iter().filter(|(_, member)| member.has_data())
    }
}
