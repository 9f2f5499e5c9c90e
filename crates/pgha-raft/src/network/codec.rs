//! Between openraft's types and the wire's. Real messages, not serialised structs: members of two
//! versions speak to each other during an upgrade.

use openraft::EntryPayload;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use pgha_core::Command;
use pgha_proto::{FieldError, missing, raft_id, v1};

use crate::types::{
    Entry, LogId, Membership, Peer, SnapshotMeta, StoredMembership, TypeConfig, Vote, log_id_out,
};

pub(crate) type AppendRequest = AppendEntriesRequest<TypeConfig>;
pub(crate) type AppendResponse = AppendEntriesResponse<u64>;

pub(crate) fn log_id_in(id: &v1::LogId) -> LogId {
    LogId {
        leader_id: openraft::CommittedLeaderId::new(id.term, id.leader_raft_id),
        index: id.index,
    }
}

pub(crate) fn vote_out(vote: &Vote) -> v1::Vote {
    v1::Vote {
        term: vote.leader_id.term,
        raft_id: vote.leader_id.node_id,
        committed: vote.committed,
    }
}

pub(crate) fn vote_in(field: &'static str, vote: Option<&v1::Vote>) -> Result<Vote, FieldError> {
    let vote = vote.ok_or_else(|| missing(field))?;
    let mut result = Vote::new(vote.term, vote.raft_id);
    result.committed = vote.committed;
    Ok(result)
}

pub(crate) fn membership_out(membership: &Membership) -> v1::Membership {
    v1::Membership {
        voters: membership
            .get_joint_config()
            .iter()
            .map(|set| v1::VoterSet {
                raft_ids: set.iter().copied().collect(),
            })
            .collect(),
        members: membership
            .nodes()
            .map(|(&raft_id, peer)| v1::RaftMember {
                raft_id,
                name: peer.name.0.clone(),
                store_id: peer.store_id.0.clone(),
                address: peer.address.clone(),
            })
            .collect(),
    }
}

pub(crate) fn membership_in(membership: &v1::Membership) -> Result<Membership, FieldError> {
    let mut nodes = std::collections::BTreeMap::new();
    for member in &membership.members {
        let id = raft_id("membership.members.raft_id", member.raft_id)?;
        nodes.insert(
            id.0,
            Peer {
                name: member.name.as_str().into(),
                store_id: member.store_id.as_str().into(),
                address: member.address.clone(),
            },
        );
    }
    let sets: Vec<std::collections::BTreeSet<u64>> = membership
        .voters
        .iter()
        .map(|set| set.raft_ids.iter().copied().collect())
        .collect();
    if let Some(unknown) = sets.iter().flatten().find(|&id| !nodes.contains_key(id)) {
        return Err(FieldError {
            field: "membership.voters",
            value: unknown.to_string(),
            expected: "voters that are among the members",
        });
    }
    Ok(Membership::new(sets, nodes))
}

pub(crate) fn entry_out(entry: &Entry) -> Result<v1::Entry, serde_json::Error> {
    let payload = match &entry.payload {
        EntryPayload::Blank => v1::entry::Payload::Blank(v1::Blank {}),
        EntryPayload::Normal(command) => {
            v1::entry::Payload::CommandJson(serde_json::to_vec(command)?)
        }
        EntryPayload::Membership(membership) => {
            v1::entry::Payload::Membership(membership_out(membership))
        }
    };
    Ok(v1::Entry {
        log_id: Some(log_id_out(&entry.log_id)),
        payload: Some(payload),
    })
}

pub(crate) fn entry_in(entry: &v1::Entry) -> Result<Entry, FieldError> {
    let log_id = entry.log_id.as_ref();
    let payload = entry.payload.as_ref();
    Ok(Entry {
        log_id: log_id_in(log_id.ok_or_else(|| missing("entries.log_id"))?),
        payload: match payload.ok_or_else(|| missing("entries.payload"))? {
            v1::entry::Payload::Blank(v1::Blank {}) => EntryPayload::Blank,
            v1::entry::Payload::CommandJson(json) => EntryPayload::Normal(command(json)?),
            v1::entry::Payload::Membership(membership) => {
                EntryPayload::Membership(membership_in(membership)?)
            }
        },
    })
}

fn command(json: &[u8]) -> Result<Command, FieldError> {
    serde_json::from_slice(json).map_err(|error| FieldError {
        field: "entries.command_json",
        value: format!("not understood ({error})"),
        expected: "a command that this version knows",
    })
}

pub(crate) fn append_out(
    identity: v1::Identity,
    request: &AppendRequest,
) -> Result<v1::AppendRequest, serde_json::Error> {
    Ok(v1::AppendRequest {
        identity: Some(identity),
        vote: Some(vote_out(&request.vote)),
        previous: request.prev_log_id.as_ref().map(log_id_out),
        entries: request
            .entries
            .iter()
            .map(entry_out)
            .collect::<Result<_, _>>()?,
        committed: request.leader_commit.as_ref().map(log_id_out),
    })
}

/// openraft takes it for granted, with assertions, that entries follow each other without a gap.
pub(crate) fn append_in(request: &v1::AppendRequest) -> Result<AppendRequest, FieldError> {
    let prev_log_id = request.previous.as_ref().map(log_id_in);
    let entries: Vec<Entry> = request
        .entries
        .iter()
        .map(entry_in)
        .collect::<Result<_, _>>()?;
    let mut before = prev_log_id.map(|previous| previous.index);
    for entry in &entries {
        let next = before.map_or(Some(0), |before| before.checked_add(1));
        if next != Some(entry.log_id.index) {
            return Err(FieldError {
                field: "entries",
                value: entry.log_id.to_string(),
                expected: "consecutive entries behind `previous`",
            });
        }
        before = next;
    }
    Ok(AppendRequest {
        vote: vote_in("vote", request.vote.as_ref())?,
        prev_log_id,
        entries,
        leader_commit: request.committed.as_ref().map(log_id_in),
    })
}

pub(crate) fn append_reply_out(response: &AppendResponse) -> v1::AppendReply {
    use v1::append_reply::{Conflict, Outcome, Success};
    let outcome = match response {
        AppendResponse::Success => Outcome::Success(Success {}),
        // Partial success is what a sender makes of a request that it cut short; no receiver answers
        // so, and "nothing matched" is what a conflict says.
        AppendResponse::PartialSuccess(None) | AppendResponse::Conflict => {
            Outcome::Conflict(Conflict {})
        }
        AppendResponse::PartialSuccess(Some(id)) => Outcome::PartialSuccess(log_id_out(id)),
        AppendResponse::HigherVote(vote) => Outcome::HigherVote(vote_out(vote)),
    };
    v1::AppendReply {
        outcome: Some(outcome),
    }
}

pub(crate) fn append_reply_in(reply: &v1::AppendReply) -> Result<AppendResponse, FieldError> {
    use v1::append_reply::Outcome;
    match reply.outcome.as_ref().ok_or_else(|| missing("outcome"))? {
        Outcome::Success(_) => Ok(AppendResponse::Success),
        Outcome::PartialSuccess(id) => Ok(AppendResponse::PartialSuccess(Some(log_id_in(id)))),
        Outcome::Conflict(_) => Ok(AppendResponse::Conflict),
        Outcome::HigherVote(vote) => {
            vote_in("higher_vote", Some(vote)).map(AppendResponse::HigherVote)
        }
    }
}

pub(crate) fn vote_request_in(request: &v1::VoteRequest) -> Result<VoteRequest<u64>, FieldError> {
    Ok(VoteRequest {
        vote: vote_in("vote", request.vote.as_ref())?,
        last_log_id: request.last_log.as_ref().map(log_id_in),
    })
}

pub(crate) fn vote_reply_out(response: &VoteResponse<u64>) -> v1::VoteReply {
    v1::VoteReply {
        vote: Some(vote_out(&response.vote)),
        granted: response.vote_granted,
        last_log: response.last_log_id.as_ref().map(log_id_out),
    }
}

pub(crate) fn vote_reply_in(reply: &v1::VoteReply) -> Result<VoteResponse<u64>, FieldError> {
    Ok(VoteResponse {
        vote: vote_in("vote", reply.vote.as_ref())?,
        vote_granted: reply.granted,
        last_log_id: reply.last_log.as_ref().map(log_id_in),
    })
}

pub(crate) fn snapshot_head_out(meta: &SnapshotMeta, state: &[u8]) -> v1::SnapshotHead {
    v1::SnapshotHead {
        snapshot_id: meta.snapshot_id.clone(),
        last_log: meta.last_log_id.as_ref().map(log_id_out),
        membership_log: meta.last_membership.log_id().as_ref().map(log_id_out),
        membership: Some(membership_out(meta.last_membership.membership())),
        size_bytes: state.len() as u64,
        crc32: crc32fast::hash(state),
    }
}

pub(crate) fn snapshot_meta_in(head: &v1::SnapshotHead) -> Result<SnapshotMeta, FieldError> {
    let membership = head.membership.as_ref();
    Ok(SnapshotMeta {
        snapshot_id: head.snapshot_id.clone(),
        last_log_id: head.last_log.as_ref().map(log_id_in),
        last_membership: StoredMembership::new(
            head.membership_log.as_ref().map(log_id_in),
            membership_in(membership.ok_or_else(|| missing("head.membership"))?)?,
        ),
    })
}

#[cfg(test)]
mod tests;
