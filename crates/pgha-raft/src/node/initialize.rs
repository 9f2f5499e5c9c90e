//! Creating a cluster's log.

use std::collections::BTreeMap;

use openraft::error::{InitializeError as NotPristine, RaftError};
use pgha_core::RaftId;

use super::RaftNode;
use crate::types::{FormedMember, Peer};

/// Why a cluster was not created.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InitializeError {
    /// It has been, here.
    #[error("this member has a Raft log already ({0}), a cluster is created once")]
    NotPristine(String),
    /// The list leaves this member out.
    #[error("Raft id {0}, this member, is not in the list of members")]
    NotListed(RaftId),
    /// The process has to end.
    #[error("Raft has ended on this member: {0}")]
    Fatal(String),
}

impl RaftNode {
    /// Creates the cluster's log with these members as voters. On exactly one member, whose store
    /// nothing was ever written to; a second one would be a second cluster.
    pub async fn initialize(&self, members: &[FormedMember]) -> Result<(), InitializeError> {
        let nodes: BTreeMap<u64, Peer> = members
            .iter()
            .map(|member| (member.raft_id.0, Peer::from(member)))
            .collect();
        match self.core.raft.initialize(nodes).await {
            Ok(()) => Ok(()),
            Err(RaftError::APIError(NotPristine::NotAllowed(error))) => {
                Err(InitializeError::NotPristine(error.to_string()))
            }
            Err(RaftError::APIError(NotPristine::NotInMembers(_))) => {
                Err(InitializeError::NotListed(self.core.links.me.raft_id))
            }
            Err(RaftError::Fatal(error)) => Err(InitializeError::Fatal(error.to_string())),
        }
    }
}
