//! What the Raft leader does for a member that comes back.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use pgha_core::{Command, Generation, Member, MemberName, RaftId, Reason};
use pgha_guard::clock;
use pgha_proto::v1;

use super::Refusal;
use crate::formation::member;
use crate::services::{self, ANSWER_MAX, Joined};

const PROPOSE_MAX: Duration = Duration::from_secs(5);
const HEARD_MAX: Duration = Duration::from_secs(2);

/// Answers a request for a place in the cluster.
pub(crate) async fn answer(joined: &Joined, request: v1::RejoinRequest) -> v1::RejoinReply {
    match admit(joined, request).await {
        Ok((raft_id, generation)) => v1::RejoinReply {
            accepted: true,
            raft_id: raft_id.0,
            generation: generation.0,
            ..v1::RejoinReply::default()
        },
        Err(error) => v1::RejoinReply {
            accepted: false,
            reason: format!("{error:#}"),
            reason_code: error
                .downcast_ref::<Refusal>()
                .map_or_else(String::new, |refusal| refusal.reason.code().to_owned()),
            leader_address: joined
                .raft
                .leader()
                .map(|leader| leader.address)
                .unwrap_or_default(),
            ..v1::RejoinReply::default()
        },
    }
}

async fn admit(
    joined: &Joined,
    request: v1::RejoinRequest,
) -> anyhow::Result<(RaftId, Generation)> {
    let view = joined.raft.confirm_quorum(PROPOSE_MAX).await;
    let view = view.map_err(|error| Refusal::error(Reason::NoQuorum, error.to_string()))?;
    let state = &view.state;
    if request.cluster_id != state.cluster_id.0 {
        let text = format!("this is cluster {}", state.cluster_id);
        return Err(Refusal::error(Reason::ForeignCluster, text));
    }
    let mut listed = request.member.context("no member in the request")?;
    pgha_proto::check_member(&listed)?;
    let name = MemberName(listed.name.clone());
    let known = state.members.get(&name).ok_or_else(|| {
        let names: Vec<&str> = state.members.keys().map(MemberName::as_str).collect();
        let text = format!(
            "{name} is no member of cluster {:?} ({}), its members are {}",
            state.cluster,
            state.cluster_id,
            names.join(", ")
        );
        Refusal::error(Reason::ForeignCluster, text)
    })?;
    if known.store_id.0 == listed.store_id && state.is_ruled_out(known) {
        let text = format!(
            "raft id {} of {name} was ruled out with its store when the quorum was recovered: it \
             comes back with a new store",
            known.raft_id
        );
        return Err(Refusal::error(Reason::RuledOut, text));
    }
    if known.store_id.0 == listed.store_id {
        // It was taken back and asks again: its first answer got lost.
        return Ok((known.raft_id, state.generation));
    }
    if is_alive(joined, &name, known).await {
        let address = &known.addresses.raft;
        let text = format!("{name} is alive at {address} with another store: names are unique");
        return Err(Refusal::error(Reason::NameTaken, text));
    }
    let raft_id = next_id(
        joined,
        &view.state.members.values().cloned().collect::<Vec<_>>(),
    );
    listed.raft_id = raft_id.0;
    let member = Member {
        priority: known.priority,
        excluded: known.excluded,
        ..member(&listed)
    };
    let command = Command::PutMember {
        name,
        replaces: Some(known.raft_id),
        member,
    };
    joined.raft.propose(command, PROPOSE_MAX).await??;
    Ok((raft_id, state.generation))
}

/// Whether the member with its own store is there. One that this process has not heard yet is not
/// gone for that: it is asked.
async fn is_alive(joined: &Joined, name: &MemberName, known: &Member) -> bool {
    let heard = joined.peers.heard();
    let recently = heard.get(name).is_some_and(|heard| {
        heard.refused_at.is_none() && clock::now().since(heard.at) < HEARD_MAX
    });
    if recently || joined.peers.me() == name {
        return true;
    }
    let address = known.addresses.raft.clone();
    let asked = BTreeMap::from([(name.clone(), address)]);
    let replies = services::ask_peers(&asked, &v1::HelloRequest::default(), ANSWER_MAX).await;
    let mut replies = replies.into_values().flatten();
    replies.any(|reply| reply.store_id == known.store_id.0)
}

/// Above every id that the log knows: ids are never used again. A replaced id is out of the
/// membership only after its successor, which is higher, is in.
fn next_id(joined: &Joined, members: &[Member]) -> RaftId {
    let role = joined.raft.role().borrow().clone();
    let known = members
        .iter()
        .map(|member| member.raft_id)
        .chain(role.members.keys().copied());
    RaftId(known.map(|id| id.0).max().unwrap_or(0) + 1)
}
