//! The status as programs see it.

use std::collections::BTreeMap;

use pgha_proto::v1;
use serde::Serialize;

use super::lsn;

/// `pgha-ctl status --output json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Status {
    pub(crate) cluster: String,
    pub(crate) cluster_id: Option<String>,
    pub(crate) generation: u64,
    pub(crate) quorum: bool,
    pub(crate) stale_ms: u64,
    /// Text: it has 64 bits, and many readers of JSON keep only 53 of a number.
    pub(crate) system_identifier: Option<String>,
    pub(crate) epoch: Option<u64>,
    pub(crate) timeline: Option<u32>,
    pub(crate) primary: Option<String>,
    pub(crate) paused: bool,
    pub(crate) raft: Raft,
    pub(crate) sync: Sync,
    pub(crate) members: Vec<Member>,
    pub(crate) reason: Option<String>,
    pub(crate) detail: Option<String>,
    pub(crate) answered_by: String,
}

/// The Raft group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Raft {
    pub(crate) leader: Option<String>,
    pub(crate) term: u64,
    pub(crate) voters: Vec<String>,
    pub(crate) learners: Vec<String>,
}

/// Synchronous replication.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Sync {
    pub(crate) mode: String,
    pub(crate) standbys: Vec<String>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) role: String,
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
    pub(crate) timeline: Option<u32>,
    pub(crate) received_lsn: Option<String>,
    pub(crate) replayed_lsn: Option<String>,
    pub(crate) lag_bytes: Option<u64>,
    pub(crate) raft: Option<String>,
    pub(crate) postgres: Option<String>,
    pub(crate) http: Option<String>,
    pub(crate) proxy_rw: Option<String>,
    pub(crate) proxy_ro: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) detail: Option<String>,
}

impl From<v1::StatusReply> for Status {
    fn from(reply: v1::StatusReply) -> Self {
        Self {
            cluster: reply.cluster,
            cluster_id: reply.cluster_id,
            generation: reply.generation,
            quorum: reply.quorum,
            stale_ms: reply.stale_ms,
            system_identifier: reply.system_identifier.map(|id| id.to_string()),
            epoch: reply.epoch,
            timeline: reply.timeline,
            primary: reply.primary,
            paused: reply.paused,
            raft: reply.raft.unwrap_or_default().into(),
            sync: reply.sync.unwrap_or_default().into(),
            members: reply.members.into_iter().map(Member::from).collect(),
            reason: reply.reason,
            detail: reply.detail,
            answered_by: reply.answered_by,
        }
    }
}

impl From<v1::RaftStatus> for Raft {
    fn from(raft: v1::RaftStatus) -> Self {
        let v1::RaftStatus {
            leader,
            term,
            voters,
            learners,
        } = raft;
        Self {
            leader,
            term,
            voters,
            learners,
        }
    }
}

impl From<v1::SyncStatus> for Sync {
    fn from(sync: v1::SyncStatus) -> Self {
        let v1::SyncStatus { mode, standbys } = sync;
        Self { mode, standbys }
    }
}

impl From<v1::MemberStatus> for Member {
    fn from(member: v1::MemberStatus) -> Self {
        let addresses = member.addresses.unwrap_or_default();
        Self {
            name: member.name,
            kind: member.kind,
            role: member.role,
            state: member.state,
            reason: member.reason,
            timeline: member.timeline,
            received_lsn: lsn(member.received_lsn),
            replayed_lsn: lsn(member.replayed_lsn),
            lag_bytes: member.lag_bytes,
            raft: address(addresses.raft),
            postgres: address(addresses.postgres),
            http: address(addresses.http),
            proxy_rw: address(addresses.proxy_read_write),
            proxy_ro: address(addresses.proxy_read_only),
            tags: member.tags,
            detail: member.detail,
        }
    }
}

/// The wire says "none" with an empty text: a witness has no PostgreSQL.
fn address(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
