//! The list of members that a cluster is made of.

use std::collections::BTreeSet;

use pgha_core::Addresses;

use super::addresses::address;
use super::field::{FieldError, raft_id, store_id, text};
use crate::v1;

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
