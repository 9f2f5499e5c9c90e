//! The way back of a member that lost its store: a new raft id that replaces the old one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use pgha_core::{
    ClusterId, ClusterState, Command, Generation, Member, MemberName, Mono, RaftId, Reason,
};
use pgha_guard::clock;
use pgha_proto::v1;
use pgha_raft::{MembershipChange, Peer, RaftNode};

use crate::formation::member;
use crate::services::{self, ANSWER_MAX, Joined};

const PROPOSE_MAX: Duration = Duration::from_secs(5);
const CHANGE_MAX: Duration = Duration::from_secs(20);
const CHECK_PAUSE: Duration = Duration::from_millis(500);
/// A learner supports nobody before a started member's wait is over. One that has had twice that, and this
/// beside it, gets its vote all the same.
const SUPPORT_MARGIN: Duration = Duration::from_secs(5);
const HEARD_MAX: Duration = Duration::from_secs(2);
const TAKEN_MAX: Duration = Duration::from_secs(8);
const HOPS_MAX: u32 = 3;

/// Why a member is not taken back, where that has a name.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    text: String,
}

impl Refusal {
    fn error(reason: Reason, text: String) -> anyhow::Error {
        Self { reason, text }.into()
    }

    /// As another member told it.
    fn told(reply: &v1::RejoinReply) -> anyhow::Error {
        let text = reply.reason.clone();
        match Reason::ALL.iter().find(|r| r.code() == reply.reason_code) {
            Some(reason) => Self::error(*reason, text),
            None => anyhow!(text),
        }
    }
}

/// Asks the cluster, at this address and then at its leader's, for a place in a generation that is
/// not over: `told_of` is the one that this member was told of.
pub(crate) async fn ask(
    address: &str,
    cluster_id: &ClusterId,
    told_of: Generation,
    member: v1::FormMember,
) -> anyhow::Result<(RaftId, Generation)> {
    let mut address = address.to_owned();
    for _ in 0..HOPS_MAX {
        let channel = crate::net::channel(&address).context("no address")?;
        let mut client = v1::member_client::MemberClient::new(channel);
        let request = v1::RejoinRequest {
            cluster_id: cluster_id.0.clone(),
            member: Some(member.clone()),
        };
        let reply = tokio::time::timeout(TAKEN_MAX, client.rejoin(request))
            .await??
            .into_inner();
        if reply.accepted && reply.generation < told_of.0 {
            let text = format!(
                "{address} is of generation {}, this member was told of generation {told_of}",
                reply.generation
            );
            return Err(Refusal::error(Reason::RuledOut, text));
        }
        if reply.accepted {
            return Ok((RaftId(reply.raft_id), Generation(reply.generation)));
        }
        if reply.leader_address.is_empty() || reply.leader_address == address {
            return Err(Refusal::told(&reply));
        }
        address = reply.leader_address;
    }
    bail!("the Raft leadership moves too fast")
}

/// Answers such a request.
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

/// Makes the Raft membership what the replicated state says; on whoever leads. Runs for ever.
pub(crate) async fn follow_members(raft: Arc<RaftNode>, joined: Arc<OnceLock<Joined>>) {
    let mut state = raft.state();
    let mut role = raft.role();
    let mut learning: BTreeMap<RaftId, Mono> = BTreeMap::new();
    // Whose turn was in vain: the next one's comes, or nobody else would have one.
    let mut passed: Option<MemberName> = None;
    loop {
        let change = {
            let view = state.borrow_and_update().clone();
            let role = role.borrow_and_update().clone();
            role.is_leader
                .then(|| next_change(&view.state, &role, passed.as_ref()))
                .flatten()
        };
        if let Some((name, change)) = change {
            if let MembershipChange::Promote(id) = change {
                let since = *learning.entry(id).or_insert_with(clock::now);
                let wait = state.borrow().state.settings.start_wait();
                let patient = clock::now() < since + wait * 2 + SUPPORT_MARGIN;
                if patient && !supports_primary(&raft, joined.get(), id) {
                    passed = Some(name);
                    tokio::time::sleep(CHECK_PAUSE).await;
                    continue;
                }
            }
            tracing::info!(?change, "changing the Raft membership");
            if let Err(error) = raft.change_membership(change, CHANGE_MAX).await {
                tracing::warn!(%error, "the Raft membership was not changed");
                passed = Some(name);
            }
            tokio::time::sleep(CHECK_PAUSE).await;
            continue;
        }
        passed = None;
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            changed = role.changed() => if changed.is_err() { return },
        }
    }
}

/// Whether the learner has promised the primary its support, where there is a primary. As a voter it
/// would refuse for a whole lease time to begin with that, and its vote may be one that the primary
/// needs: with the second voter of two it would lose its lease.
fn supports_primary(raft: &RaftNode, joined: Option<&Joined>, id: RaftId) -> bool {
    let view = raft.state().borrow().clone();
    let (Some(record), Some(joined)) = (view.state.primary(), joined) else {
        return true;
    };
    joined.peers.heard().into_values().any(|heard| {
        let grant = &heard.report.grant;
        heard.report.raft_id == id && grant.epoch == record.epoch && grant.flush_lsn.is_some()
    })
}

/// What the first member without a vote behind `passed` needs, round and round. Whoever a recovery of
/// the quorum ruled out is in the replicated state, to be known when it comes back, and gets no vote by
/// that.
fn next_change(
    state: &ClusterState,
    role: &pgha_raft::RoleView,
    passed: Option<&MemberName>,
) -> Option<(MemberName, MembershipChange)> {
    let members = &state.members;
    let wanted: BTreeSet<RaftId> = members.values().map(|member| member.raft_id).collect();
    let waits =
        |member: &Member| !state.is_ruled_out(member) && !role.voters.contains(&member.raft_id);
    let mut waiting = members.iter().filter(|(_, member)| waits(member));
    let first = waiting.clone().next();
    let behind = waiting.find(|(name, _)| passed.is_none_or(|passed| *name > passed));
    let (name, member) = behind.or(first)?;
    let peer = Peer {
        name: name.clone(),
        store_id: member.store_id.clone(),
        address: member.addresses.raft.clone(),
    };
    let old = role
        .members
        .iter()
        .find(|(id, peer)| peer.name == *name && !wanted.contains(id))
        .map(|(id, _)| *id);
    let change = match old {
        Some(old) => MembershipChange::Replace {
            old,
            new: member.raft_id,
            peer,
        },
        None if role.learners.contains(&member.raft_id) => {
            MembershipChange::Promote(member.raft_id)
        }
        None => MembershipChange::AddLearner(member.raft_id, peer),
    };
    Some((name.clone(), change))
}

#[cfg(test)]
mod tests {
    use pgha_core::{Addresses, MemberKind};
    use pgha_raft::RoleView;

    use super::*;

    fn a_member(raft_id: u64) -> Member {
        Member {
            raft_id: RaftId(raft_id),
            store_id: format!("s{raft_id}").into(),
            kind: MemberKind::Data,
            addresses: Addresses::default(),
            priority: 0,
            excluded: false,
        }
    }

    #[test]
    fn one_whose_change_fails_does_not_keep_the_others_from_theirs() {
        let members = ["n1", "n2", "n3", "n4"].map(MemberName::from);
        let state = ClusterState {
            members: (1..)
                .map(a_member)
                .zip(members)
                .map(|(m, n)| (n, m))
                .collect(),
            ..ClusterState::default()
        };
        let role = RoleView {
            voters: [RaftId(3)].into(),
            learners: [RaftId(1), RaftId(2)].into(),
            ..RoleView::default()
        };
        let next = |passed: Option<&str>| {
            let passed = passed.map(MemberName::from);
            let (name, change) = next_change(&state, &role, passed.as_ref()).unwrap();
            (name.0, change)
        };
        let promote = |id| MembershipChange::Promote(RaftId(id));
        assert_eq!(next(None), ("n1".to_owned(), promote(1)));
        assert_eq!(next(Some("n1")), ("n2".to_owned(), promote(2)));
        let (name, change) = next(Some("n2"));
        assert_eq!(name, "n4");
        assert!(matches!(change, MembershipChange::AddLearner(RaftId(4), _)));
        assert_eq!(next(Some("n4")), ("n1".to_owned(), promote(1)));
        assert_eq!(next(Some("n9")), ("n1".to_owned(), promote(1)));
    }
}
