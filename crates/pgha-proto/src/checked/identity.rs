//! Who speaks to whom.

use pgha_core::{ClusterId, Generation, RaftId, StoreId};

use super::field::{FieldError, missing, raft_id, store_id, text};
use crate::v1;

/// A checked [`v1::Identity`]: who speaks to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parties {
    /// Cluster that the sender is bound to.
    pub cluster_id: ClusterId,
    /// Generation that the sender lives in.
    pub generation: Generation,
    /// The sender.
    pub from: RaftId,
    /// The sender's store.
    pub from_store: StoreId,
    /// Whom the sender means to reach.
    pub to: RaftId,
    /// The store of that member, where the sender knows it.
    pub to_store: Option<StoreId>,
}

impl From<&Parties> for v1::Identity {
    fn from(parties: &Parties) -> Self {
        Self {
            cluster_id: parties.cluster_id.0.clone(),
            generation: parties.generation.0,
            from_raft_id: parties.from.0,
            from_store_id: parties.from_store.0.clone(),
            to_raft_id: parties.to.0,
            to_store_id: parties
                .to_store
                .as_ref()
                .map_or_else(String::new, |id| id.0.clone()),
        }
    }
}

impl TryFrom<&v1::Identity> for Parties {
    type Error = FieldError;

    fn try_from(identity: &v1::Identity) -> Result<Self, FieldError> {
        Ok(Self {
            cluster_id: ClusterId(text("identity.cluster_id", &identity.cluster_id)?),
            generation: Generation(identity.generation),
            from: raft_id("identity.from_raft_id", identity.from_raft_id)?,
            from_store: store_id("identity.from_store_id", &identity.from_store_id)?,
            to: raft_id("identity.to_raft_id", identity.to_raft_id)?,
            to_store: match identity.to_store_id.as_str() {
                "" => None,
                id => Some(store_id("identity.to_store_id", id)?),
            },
        })
    }
}

impl TryFrom<Option<&v1::Identity>> for Parties {
    type Error = FieldError;

    fn try_from(identity: Option<&v1::Identity>) -> Result<Self, FieldError> {
        Self::try_from(identity.ok_or_else(|| missing("identity"))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parties() -> Parties {
        Parties {
            cluster_id: "c-1".into(),
            generation: Generation(2),
            from: RaftId(1),
            from_store: "s-1".into(),
            to: RaftId(2),
            to_store: None,
        }
    }

    #[test]
    fn identity_round_trips() {
        let with_store = Parties {
            to_store: Some("s-2".into()),
            ..parties()
        };
        for wanted in [parties(), with_store] {
            let wire = v1::Identity::from(&wanted);
            assert_eq!(Parties::try_from(&wire), Ok(wanted));
        }
    }

    #[test]
    fn refuses_what_no_member_sends_and_names_the_field() {
        let good = v1::Identity::from(&parties());
        let cases = [
            (
                v1::Identity {
                    cluster_id: String::new(),
                    ..good.clone()
                },
                "identity.cluster_id",
            ),
            (
                v1::Identity {
                    from_raft_id: 0,
                    ..good.clone()
                },
                "identity.from_raft_id",
            ),
            (
                v1::Identity {
                    from_store_id: "a\nb".into(),
                    ..good.clone()
                },
                "identity.from_store_id",
            ),
            (
                v1::Identity {
                    to_raft_id: 0,
                    ..good.clone()
                },
                "identity.to_raft_id",
            ),
            (
                v1::Identity {
                    to_store_id: "x".repeat(129),
                    ..good
                },
                "identity.to_store_id",
            ),
        ];
        for (identity, field) in cases {
            let error = Parties::try_from(&identity).unwrap_err();
            assert_eq!(error.field, field);
            assert!(error.to_string().contains(field), "{error}");
        }
        assert_eq!(Parties::try_from(None).unwrap_err().field, "identity");
    }
}
