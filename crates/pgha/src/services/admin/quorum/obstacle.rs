//! Why a member must not, or cannot, go on alone.

use std::collections::BTreeSet;

use pgha_core::{Fitness, Generation, MemberName, Phase, Reason};
use pgha_proto::v1;
use pgha_proto::v1::hello_reply::State;
use pgha_raft::{RoleView, StateView};

use super::facts::{Answers, fitness, leader};
use crate::services::Joined;

/// The first reason there is.
pub(super) fn obstacle(
    joined: &Joined,
    view: &StateView,
    role: &RoleView,
    answers: &Answers,
) -> Option<String> {
    let (state, me) = (&view.state, joined.peers.me());
    if joined.site.is_none() {
        return Some(format!(
            "{me} is a witness and has no data: recover on a data member that is left; where there \
             is none, restore a backup into a new cluster"
        ));
    }
    if role.quorum_fresh {
        let leader = leader(role).unwrap_or_else(|| "nobody yet".to_owned());
        return Some(format!(
            "a quorum answers (the Raft leader is {leader}): there is nothing to recover"
        ));
    }
    later(state.generation, &state.cluster_id.0, answers)
        .or_else(|| others_suffice(role, answers, me))
        .or_else(|| without_data(joined, view))
}

/// Somebody was recovered already.
fn later(mine: Generation, cluster_id: &str, answers: &Answers) -> Option<String> {
    let replies = answers
        .iter()
        .filter_map(|(name, r)| Some((name, r.as_ref()?)));
    let mut same = replies.filter(|(_, reply)| reply.cluster_id == cluster_id);
    let (name, reply) = same.find(|(_, reply)| reply.generation > mine.0)?;
    Some(format!(
        "{name} answers in generation {}, this member is of generation {mine}: the cluster was \
         recovered without it, and it comes back by itself",
        reply.generation
    ))
}

/// Those who answer are a quorum together with this member: they are not lost.
fn others_suffice(role: &RoleView, answers: &Answers, me: &MemberName) -> Option<String> {
    let voters = role.voters.iter().filter_map(|id| role.members.get(id));
    let alive: BTreeSet<&MemberName> = voters
        .filter(|peer| {
            let reply = answers.get(&peer.name).and_then(Option::as_ref);
            let as_was =
                |r: &v1::HelloReply| r.store_id == peer.store_id.0 && r.state() == State::Member;
            peer.name == *me || reply.is_some_and(as_was)
        })
        .map(|peer| &peer.name)
        .collect();
    if alive.len() * 2 <= role.voters.len() {
        return None;
    }
    let names: Vec<&str> = alive.iter().map(|name| name.as_str()).collect();
    Some(format!(
        "{} of {} voting members answer ({}): they are not lost, and elect a Raft leader once they \
         reach each other",
        names.len(),
        role.voters.len(),
        names.join(", ")
    ))
}

fn without_data(joined: &Joined, view: &StateView) -> Option<String> {
    let me = joined.peers.me();
    if matches!(view.state.phase, Phase::Empty | Phase::Bootstrap { .. }) {
        let text = "the cluster never had a primary: there is no data to go on with";
        return Some(format!("{text}; remove the directories and form it anew"));
    }
    let report = joined.published.borrow().report.clone();
    let Some(report) = report else {
        return Some(format!("{me} is starting: ask again in a moment"));
    };
    let why = report.reason.map_or("", Reason::code);
    if report.system_identifier != view.state.system_identifier {
        return Some(format!(
            "{me} has no data of this cluster ({} {why}): recover on a member that has",
            report.state
        ));
    }
    if let Some(Fitness::Unfit { why }) = fitness(joined, view) {
        return Some(format!(
            "the data of {me} cannot be a primary's: {why}; recover on another data member that is \
             left, or restore a backup into a new cluster"
        ));
    }
    report.received.is_none().then(|| {
        format!(
            "how far the data of {me} goes is not known ({} {why}): its PostgreSQL has to run as a \
             fenced standby first",
            report.state
        )
    })
}
