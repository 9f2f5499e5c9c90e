//! What keeps a cluster from being formed, or a member from taking part, with the words for it.

use std::collections::BTreeMap;

use super::{Hello, Next, Standing};
use crate::{MemberName, Reason};

/// Everybody else would be sent to the other one.
pub(super) fn impostor(me: &Hello, own: Option<&Hello>) -> Option<Next> {
    let other = own.filter(|answer| answer.store_id != me.store_id)?;
    let address = me.peers.get(&me.name).map_or("", String::as_str);
    let text = format!(
        "{address} is listed for {} and leads to another sidecar, which calls itself {}",
        me.name, other.name
    );
    Some(Next::Wait(Reason::NameTaken, text))
}

pub(super) fn contradiction(
    me: &Hello,
    peers: &BTreeMap<MemberName, Option<Hello>>,
) -> Option<Next> {
    for (name, answer) in peers {
        let Some(answer) = answer else { continue };
        let address = me.peers.get(name).map_or("", String::as_str);
        if answer.cluster != me.cluster {
            let text = format!(
                "{address} belongs to cluster {:?}, this member to {:?}",
                answer.cluster, me.cluster
            );
            return Some(Next::Wait(Reason::ForeignCluster, text));
        }
        if answer.name != *name {
            let text = format!(
                "{address} is listed as {name} and calls itself {}",
                answer.name
            );
            return Some(Next::Wait(Reason::PeerListsDiffer, text));
        }
        let forming = matches!(answer.standing, Standing::Nothing | Standing::Bound(_));
        if forming && answer.peers != me.peers {
            let text = format!(
                "{name} has {}, this member {}",
                list(&answer.peers),
                list(&me.peers)
            );
            return Some(Next::Wait(Reason::PeerListsDiffer, text));
        }
    }
    None
}

pub(super) fn not_pristine(me: &Hello, answers: &[&Hello]) -> Option<Next> {
    for answer in answers {
        if matches!(answer.standing, Standing::Damaged | Standing::Lost) {
            let text = format!(
                "{} has lost its store; no member of its cluster answers",
                answer.name
            );
            return Some(Next::Wait(Reason::StoreDamaged, text));
        }
    }
    let mut found = answers
        .iter()
        .copied()
        .chain([me])
        .filter(|h| h.system_identifier.is_some());
    let first = found.next()?;
    let text = match found.find(|other| other.system_identifier != first.system_identifier) {
        Some(other) => format!(
            "{} and {} have data of different clusters",
            first.name, other.name
        ),
        None => format!(
            "{} has a data directory already; taking it over is not in this version: move it away",
            first.name
        ),
    };
    Some(Next::Wait(Reason::SystemIdentifiersDiffer, text))
}

fn list(peers: &BTreeMap<MemberName, String>) -> String {
    let entries: Vec<String> = peers
        .iter()
        .map(|(name, at)| format!("{name}={at}"))
        .collect();
    entries.join(",")
}
