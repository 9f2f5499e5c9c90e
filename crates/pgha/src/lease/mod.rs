//! The lease on its own threads: renewals and grants must not wait for anything else this process
//! does, and no disk is in their path but for the first grant of an epoch.

mod grants;
mod holder;
mod renewals;
mod shared;
mod stream;

use pgha_core::lease::Quorums;
use pgha_proto::v1;
use std::collections::BTreeMap;

use pgha_core::RaftId;

pub(crate) use grants::Grants;
pub(crate) use holder::{HolderHandle, HolderThread};
pub(crate) use renewals::{LeaseService, LeaseSlot};
pub(crate) use shared::HolderShared;

/// Names an effective membership: the log id of its entry.
pub(crate) type MembershipId = (u64, u64, u64);

/// The log id as the grantor and the holder compare it.
pub(crate) fn membership_id(log_id: Option<&v1::LogId>) -> MembershipId {
    log_id.map_or((0, 0, 0), |id| (id.term, id.leader_raft_id, id.index))
}

/// Whom a holder asks, and with which membership it counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Electorate {
    /// Every half of the last committed and the effective membership.
    pub(crate) quorums: Quorums,
    /// The effective membership.
    pub(crate) membership: MembershipId,
    /// Where the voters are reached.
    pub(crate) addresses: BTreeMap<RaftId, String>,
}
