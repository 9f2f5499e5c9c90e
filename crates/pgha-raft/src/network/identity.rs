//! Who speaks to whom (P9): an address may belong to somebody else by now, and a message of another
//! cluster, generation or store must not touch this one's Raft.

use pgha_core::{ClusterId, Generation, RaftId, StoreId};
use pgha_proto::{FieldError, Parties, v1};
use tonic::Status;
use tonic::metadata::MetadataValue;

use crate::types::Binding;

/// Why a message is not for this member, or not from whom it says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not even an identity.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// Another cluster.
    #[error("this member belongs to cluster {mine}, the message to cluster {theirs}")]
    Cluster {
        /// This member's.
        mine: ClusterId,
        /// The sender's.
        theirs: ClusterId,
    },
    /// A generation before or after a recovery from the loss of the quorum.
    #[error("this member lives in generation {mine}, the sender in {theirs}")]
    Generation {
        /// This member's.
        mine: Generation,
        /// The sender's.
        theirs: Generation,
    },
    /// Meant for somebody else.
    #[error("the message is for Raft id {wanted}, this member has {mine}")]
    Receiver {
        /// This member's.
        mine: RaftId,
        /// Whom the sender meant.
        wanted: RaftId,
    },
    /// Meant for the store that this member had before.
    #[error("the message is for store {wanted}, this member has {mine}")]
    ReceiverStore {
        /// This member's.
        mine: StoreId,
        /// What the sender knows.
        wanted: StoreId,
    },
    /// The sender's id was taken from it when the quorum was recovered without it. Of the same
    /// generation: it was recovered on its own, beside this one.
    #[error(
        "Raft id {0} was ruled out when the quorum was recovered without it, and speaks in the same \
         generation: it was recovered as well, there are two clusters now"
    )]
    RuledOut(RaftId),
    /// The sender has another store than the one that was admitted under its Raft id.
    #[error("Raft id {from} was admitted with store {admitted}, the message comes from {theirs}")]
    SenderStore {
        /// The sender.
        from: RaftId,
        /// The store as committed.
        admitted: StoreId,
        /// The store that it has.
        theirs: StoreId,
    },
}

/// On a refusal of another generation: the one of the cluster that refuses, in which the sender's
/// cluster id is known to be the same.
const GENERATION_KEY: &str = "pgha-generation";

impl From<IdentityError> for Status {
    fn from(error: IdentityError) -> Self {
        let text = error.to_string();
        match error {
            IdentityError::Field(_) => Self::invalid_argument(text),
            IdentityError::Generation { mine, .. } => {
                let mut status = Self::failed_precondition(text);
                status
                    .metadata_mut()
                    .insert(GENERATION_KEY, MetadataValue::from(mine.0));
                status
            }
            IdentityError::Cluster { .. }
            | IdentityError::Receiver { .. }
            | IdentityError::ReceiverStore { .. }
            | IdentityError::RuledOut(_)
            | IdentityError::SenderStore { .. } => Self::failed_precondition(text),
        }
    }
}

/// The generation of whoever refused a message for being of another one.
pub(crate) fn generation_of(refusal: &Status) -> Option<Generation> {
    let value = refusal.metadata().get(GENERATION_KEY)?;
    Some(Generation(value.to_str().ok()?.parse().ok()?))
}

/// This member, as it introduces itself.
#[derive(Clone, Debug)]
pub(crate) struct Me {
    pub cluster_id: ClusterId,
    pub generation: Generation,
    pub raft_id: RaftId,
    pub store_id: StoreId,
}

impl Me {
    pub(crate) fn new(binding: &Binding, store_id: StoreId) -> Self {
        Self {
            cluster_id: binding.cluster_id.clone(),
            generation: binding.generation,
            raft_id: binding.raft_id,
            store_id,
        }
    }

    /// What to put on a message.
    pub(crate) fn to(&self, to: RaftId, to_store: Option<StoreId>) -> v1::Identity {
        v1::Identity::from(&Parties {
            cluster_id: self.cluster_id.clone(),
            generation: self.generation,
            from: self.raft_id,
            from_store: self.store_id.clone(),
            to,
            to_store,
        })
    }

    /// Checks what came with a message against this member and the admitted peers. A sender that is
    /// not known yet passes: its admission may be the very entry that it sends.
    pub(crate) fn check(
        &self,
        identity: Option<&v1::Identity>,
        admitted: impl FnOnce(RaftId) -> Option<StoreId>,
    ) -> Result<Parties, IdentityError> {
        let parties = Parties::try_from(identity)?;
        if parties.cluster_id != self.cluster_id {
            return Err(IdentityError::Cluster {
                mine: self.cluster_id.clone(),
                theirs: parties.cluster_id,
            });
        }
        if parties.generation != self.generation {
            return Err(IdentityError::Generation {
                mine: self.generation,
                theirs: parties.generation,
            });
        }
        if parties.to != self.raft_id {
            return Err(IdentityError::Receiver {
                mine: self.raft_id,
                wanted: parties.to,
            });
        }
        if let Some(wanted) = parties.to_store.clone().filter(|id| *id != self.store_id) {
            return Err(IdentityError::ReceiverStore {
                mine: self.store_id.clone(),
                wanted,
            });
        }
        match admitted(parties.from) {
            Some(admitted) if admitted != parties.from_store => Err(IdentityError::SenderStore {
                from: parties.from,
                admitted,
                theirs: parties.from_store,
            }),
            _ => Ok(parties),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> Me {
        Me {
            cluster_id: "c".into(),
            generation: Generation(1),
            raft_id: RaftId(1),
            store_id: "s1".into(),
        }
    }

    #[test]
    fn names_the_first_thing_that_differs() {
        let good = v1::Identity {
            cluster_id: "c".into(),
            generation: 1,
            from_raft_id: 2,
            from_store_id: "s2".into(),
            to_raft_id: 1,
            to_store_id: "s1".into(),
        };
        let admitted = |_| Some(StoreId::from("s2"));
        let check = |identity: &v1::Identity| me().check(Some(identity), admitted);
        assert!(check(&good).is_ok());
        assert!(
            check(&v1::Identity {
                to_store_id: String::new(),
                ..good.clone()
            })
            .is_ok()
        );

        let text = |identity: v1::Identity| check(&identity).unwrap_err().to_string();
        let other = |change: fn(&mut v1::Identity)| {
            let mut identity = good.clone();
            change(&mut identity);
            text(identity)
        };
        assert!(other(|id| id.cluster_id = "d".into()).contains("cluster d"));
        assert!(other(|id| id.generation = 2).contains("the sender in 2"));
        assert!(other(|id| id.to_raft_id = 3).contains("for Raft id 3"));
        assert!(other(|id| id.to_store_id = "s9".into()).contains("store s9"));
        assert!(other(|id| id.from_store_id = "s8".into()).contains("from s8"));
        assert!(other(|id| id.from_raft_id = 0).contains("from_raft_id"));
        assert!(me().check(None, admitted).is_err());
        // Not admitted yet.
        let unknown = v1::Identity {
            from_store_id: "new".into(),
            ..good
        };
        assert!(me().check(Some(&unknown), |_| None).is_ok());
    }
}
