//! PreVote (Raft thesis, 9.6): a candidate asks before it raises the term, so that one that was
//! frozen or cut off does not depose a healthy leader when it comes back.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use pgha_proto::{log_id_text, v1};
use tonic::Request;

use super::ear::Presence;
use crate::clock;
use crate::core::{Core, is_quorum, other_voters, term};
use crate::network::codec::log_id_in;
use crate::network::probe::{Probe, probe};
use crate::types::log_id_out;

/// For an answer, in which the asked one may look at the leader's port first.
const ANSWER_DEADLINE: Duration = Duration::from_millis(250);
const LOOK_DEADLINE: Duration = Duration::from_millis(120);

/// What the others said.
#[derive(Debug)]
pub(crate) struct Tally {
    /// A quorum of every set of voters would vote for this member.
    pub granted: bool,
    /// The highest term that anybody named.
    pub term_seen: u64,
}

/// Answers a candidate.
pub(crate) async fn judge(core: &Core, request: &v1::PreVoteRequest) -> v1::PreVoteReply {
    let refusal = refusal(core, request).await;
    v1::PreVoteReply {
        granted: refusal.is_none(),
        term: term(&core.server().vote),
        reason: refusal.unwrap_or_default(),
    }
}

async fn refusal(core: &Core, request: &v1::PreVoteRequest) -> Option<String> {
    if let Some(rest) = core.withholds_votes(clock::now()) {
        return Some(format!(
            "nobody has vouched for its store yet, it votes in {rest:?} at the latest"
        ));
    }
    let mine = term(&core.server().vote);
    if request.term <= mine {
        return Some(format!("term {} is not above {mine}", request.term));
    }
    let last = core.store.ends().1;
    if request.last_log.as_ref().map(log_id_in) < last {
        return Some(format!(
            "its log ends at {}, this one at {}",
            log_id_text(request.last_log.as_ref()),
            log_id_text(last.as_ref().map(log_id_out).as_ref()),
        ));
    }
    if !core.leads() {
        look_for_gone(core, request.gone_leader_raft_id).await;
    }
    match core.presence(clock::now()) {
        Presence::Fresh(rest) if core.leads() => {
            Some(format!("this member leads, for {rest:?} more at least"))
        }
        Presence::Fresh(rest) => Some(format!("the leader is not missed before {rest:?}")),
        Presence::Silent | Presence::Gone => None,
    }
}

/// The candidate holds the leader for gone. This member does not believe it, it looks.
async fn look_for_gone(core: &Core, leader: u64) {
    let heard = core.ear.heard();
    let known = match heard.at {
        Some(_) => heard.leader,
        None => core.server().current_leader,
    };
    if known == Some(leader) {
        look(core, leader).await;
    }
}

/// Connects to the leader's port; refused by a kernel that answers means that its process ended.
pub(crate) async fn look(core: &Core, leader: u64) {
    let server = core.server();
    let Some(peer) = server.membership_config.membership().get_node(&leader) else {
        return;
    };
    if probe(&peer.address, LOOK_DEADLINE).await == Probe::Gone {
        core.mark_gone(leader);
    }
}

/// Asks all voters whether they would vote for this member in `term`; ends when it is decided.
pub(crate) async fn ask(core: &Core, term: u64, gone_leader: Option<u64>) -> Tally {
    let server = core.server();
    let membership = server.membership_config.membership();
    let voters = membership.get_joint_config();
    let mut granted = BTreeSet::from([core.my_id()]);
    let mut term_seen = 0;
    let mut answers: FuturesUnordered<_> = other_voters(membership, core.my_id())
        .into_iter()
        .map(|(id, peer)| {
            let request = v1::PreVoteRequest {
                identity: None,
                term,
                last_log: core.store.ends().1.as_ref().map(log_id_out),
                gone_leader_raft_id: gone_leader.unwrap_or(0),
            };
            async move {
                let (mut client, identity) = core.links.to(id, &peer).ok()?;
                let mut request = Request::new(v1::PreVoteRequest {
                    identity: Some(identity),
                    ..request
                });
                request.set_timeout(ANSWER_DEADLINE);
                let answer = tokio::time::timeout(ANSWER_DEADLINE, client.pre_vote(request)).await;
                let answer = answer.ok()?;
                let answer = answer.inspect_err(|status| core.links.hear_refusal(status));
                Some((id, answer.ok()?.into_inner()))
            }
        })
        .collect();
    while !is_quorum(voters, &granted) {
        let Some(answer) = answers.next().await else {
            break;
        };
        let Some((id, reply)) = answer else {
            continue;
        };
        term_seen = term_seen.max(reply.term);
        if reply.granted {
            granted.insert(id);
        } else {
            tracing::debug!(voter = id, reason = %reply.reason, "would not vote for this member");
        }
    }
    Tally {
        granted: is_quorum(voters, &granted),
        term_seen,
    }
}
