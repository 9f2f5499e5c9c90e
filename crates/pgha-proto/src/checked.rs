//! From the wire to the core's types. A message of an old, broken or hostile peer may lack a field
//! or hold nonsense in it: what leaves here is known good.

use std::collections::BTreeSet;

use pgha_core::{Addresses, ClusterId, Generation, RaftId, StoreId};

use crate::v1;

/// A field of a message that cannot be what it says it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}` is {value}, expected {expected}")]
pub struct FieldError {
    /// Path of the field in its message.
    pub field: &'static str,
    /// What was found there.
    pub value: String,
    /// What would have been accepted.
    pub expected: &'static str,
}

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

impl From<&Addresses> for v1::Addresses {
    fn from(addresses: &Addresses) -> Self {
        Self {
            raft: addresses.raft.clone(),
            postgres: addresses.postgres.clone(),
            http: addresses.http.clone(),
            proxy_read_write: addresses.proxy_read_write.clone(),
            proxy_read_only: addresses.proxy_read_only.clone(),
        }
    }
}

impl TryFrom<&v1::Addresses> for Addresses {
    type Error = FieldError;

    fn try_from(addresses: &v1::Addresses) -> Result<Self, FieldError> {
        // A witness has no PostgreSQL and serves no applications.
        let optional = |field, value: &str| match value {
            "" => Ok(String::new()),
            value => address(field, value),
        };
        Ok(Self {
            raft: address("addresses.raft", &addresses.raft)?,
            postgres: optional("addresses.postgres", &addresses.postgres)?,
            http: optional("addresses.http", &addresses.http)?,
            proxy_read_write: optional("addresses.proxy_read_write", &addresses.proxy_read_write)?,
            proxy_read_only: optional("addresses.proxy_read_only", &addresses.proxy_read_only)?,
        })
    }
}

/// Checks a member as a list names it; its Raft id is given by whoever admits it.
pub fn check_member(listed: &v1::FormMember) -> Result<(), FieldError> {
    text("member.name", &listed.name)?;
    store_id("member.store_id", &listed.store_id)?;
    address("member.address", &listed.address)?;
    if let Some(addresses) = &listed.addresses {
        Addresses::try_from(addresses)?;
    }
    Ok(())
}

/// Checks what a new cluster is to consist of, before it is written down as this member's own.
pub fn check_form(request: &v1::FormRequest) -> Result<(), FieldError> {
    text("cluster_id", &request.cluster_id)?;
    let mut ids = BTreeSet::new();
    for listed in &request.members {
        check_member(listed)?;
        let id = raft_id("member.raft_id", listed.raft_id)?;
        if !ids.insert(id) {
            return Err(FieldError {
                field: "member.raft_id",
                value: id.to_string(),
                expected: "an id of its own for each member",
            });
        }
    }
    Ok(())
}

/// A `host:port`; an IPv6 host stands in brackets.
pub fn address(field: &'static str, value: &str) -> Result<String, FieldError> {
    let refused = || FieldError {
        field,
        value: format!("{:?}", value.chars().take(80).collect::<String>()),
        expected: "host:port",
    };
    let (host, port) = value.rsplit_once(':').ok_or_else(refused)?;
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or_else(refused)?,
        None if host.contains(':') => return Err(refused()),
        None => host,
    };
    text(field, bare).map_err(|_| refused())?;
    match port.parse::<u16>() {
        Ok(port) if port != 0 => Ok(value.to_owned()),
        _ => Err(refused()),
    }
}

/// A member's Raft id: never 0, which is what a missing number reads as.
pub fn raft_id(field: &'static str, value: u64) -> Result<RaftId, FieldError> {
    if value == 0 {
        return Err(FieldError {
            field,
            value: "0".to_owned(),
            expected: "a Raft id above 0",
        });
    }
    Ok(RaftId(value))
}

/// The id of a store: never empty.
pub fn store_id(field: &'static str, value: &str) -> Result<StoreId, FieldError> {
    text(field, value).map(StoreId)
}

/// Term, leader and index in one word, for messages to people.
pub fn log_id_text(log_id: Option<&v1::LogId>) -> String {
    log_id.map_or_else(
        || "none".to_owned(),
        |id| format!("T{}-N{}.{}", id.term, id.leader_raft_id, id.index),
    )
}

/// A field that has to be there is not.
pub fn missing(field: &'static str) -> FieldError {
    FieldError {
        field,
        value: "missing".to_owned(),
        expected: "a value",
    }
}

/// Identifiers are printed in logs and used in names: short, and without control characters.
fn text(field: &'static str, value: &str) -> Result<String, FieldError> {
    const LENGTH_MAX: usize = 128;
    let good = !value.is_empty()
        && value.len() <= LENGTH_MAX
        && value.chars().all(|c| !c.is_control() && !c.is_whitespace());
    if good {
        return Ok(value.to_owned());
    }
    Err(FieldError {
        field,
        value: format!("{:?}", value.chars().take(40).collect::<String>()),
        expected: "1 to 128 bytes without blanks or control characters",
    })
}

/// Raft orders log ids by term, then leader, then index (Raft paper, 5.4.1; the leader breaks ties
/// between several leaders of one term, which openraft's default mode allows).
impl Ord for v1::LogId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |id: &Self| (id.term, id.leader_raft_id, id.index);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for v1::LogId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
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

    #[test]
    fn addresses_are_host_and_port() {
        for good in ["n1:7400", "127.0.0.1:1", "[::1]:65535"] {
            assert_eq!(address("a", good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "n1",
            "n1:",
            "n1:0",
            "n1:65536",
            ":7400",
            "::1:7400",
            "[::1:7400",
            "a b:1",
        ] {
            let error = address("addresses.http", bad).unwrap_err();
            assert!(error.to_string().contains("addresses.http"), "{error}");
        }
        let witness = Addresses {
            raft: "n3:7400".to_owned(),
            ..Addresses::default()
        };
        let wire = v1::Addresses::from(&witness);
        assert_eq!(Addresses::try_from(&wire), Ok(witness));
        let nowhere = v1::Addresses::default();
        assert_eq!(
            Addresses::try_from(&nowhere).unwrap_err().field,
            "addresses.raft"
        );
    }

    #[test]
    fn log_ids_order_by_term_then_leader_then_index() {
        let id = |term, leader_raft_id, index| v1::LogId {
            term,
            leader_raft_id,
            index,
        };
        let ascending = [id(1, 1, 9), id(1, 2, 3), id(2, 1, 1), id(2, 1, 2)];
        assert!(ascending.is_sorted());
        assert_eq!(log_id_text(Some(&id(2, 1, 7))), "T2-N1.7");
    }
}
