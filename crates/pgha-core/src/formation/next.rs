//! What to do next.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::obstacle::{contradiction, impostor, not_pristine};
use super::{Hello, Standing};
use crate::{ClusterId, Generation, MemberName, Reason};

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask again in a moment.
    Wait(Reason, String),
    /// Bind everybody on the list to one new cluster; this member is the first by name. The
    /// cluster id is the one it is bound to already, if it is.
    Form(Option<ClusterId>),
    /// Everybody is bound: start the Raft group.
    Start {
        /// Whether this member writes the first entry.
        initialize: bool,
    },
    /// Ask this cluster for a place under a new raft id.
    Rejoin {
        /// Who confirmed that it lives.
        via: MemberName,
        /// Its id.
        cluster_id: ClusterId,
    },
    /// Forget the binding: the one who made it has lost it, and nobody has an entry of it.
    Unbind,
}

/// Decides from this member's facts, the peers' answers and that of whoever has this member's own
/// address. `None`: no answer.
pub fn next(me: &Hello, own: Option<&Hello>, peers: &BTreeMap<MemberName, Option<Hello>>) -> Next {
    let answers: Vec<&Hello> = peers.values().flatten().collect();
    if let Some(wait) = impostor(me, own).or_else(|| contradiction(me, peers)) {
        return wait;
    }
    if let Some(next) = living_cluster(me, &answers) {
        return next;
    }
    let missing: Vec<&str> = peers
        .iter()
        .filter(|(_, a)| a.is_none())
        .map(|(name, _)| name.as_str())
        .collect();
    if !missing.is_empty() {
        let text = format!("no answer from {}", missing.join(", "));
        return Next::Wait(Reason::PeerMissing, text);
    }
    match &me.standing {
        Standing::Nothing | Standing::Bound(_) => {}
        Standing::Damaged if me.generation > Generation::default() => {
            let text = format!(
                "nobody of generation {} answers, which went on without the store of this member",
                me.generation
            );
            return Next::Wait(Reason::RuledOut, text);
        }
        Standing::Damaged | Standing::Lost | Standing::Member { .. } => {
            let text = "the store of this member is gone and no living cluster answers: start the \
                        members that still have theirs"
                .to_owned();
            return Next::Wait(Reason::StoreDamaged, text);
        }
    }
    if let Some(wait) = not_pristine(me, &answers) {
        return wait;
    }
    bind(me, &answers)
}

fn living_cluster(me: &Hello, answers: &[&Hello]) -> Option<Next> {
    let mut unconfirmed = None;
    let mut outdated = None;
    // The newest generation first: those who were lost with the quorum may have one of their own.
    let mut answers = answers.to_vec();
    answers.sort_by_key(|answer| Reverse(answer.generation));
    for answer in answers {
        let Standing::Member {
            cluster_id,
            confirmed,
        } = &answer.standing
        else {
            continue;
        };
        if let Standing::Bound(bound) = &me.standing {
            // The first entry is there: the Raft group brings the rest.
            return Some(if bound == cluster_id {
                Next::Start { initialize: false }
            } else if *confirmed {
                Next::Rejoin {
                    via: answer.name.clone(),
                    cluster_id: cluster_id.clone(),
                }
            } else {
                continue;
            });
        }
        if answer.generation < me.generation {
            outdated = Some(answer);
            continue;
        }
        if *confirmed {
            let via = answer.name.clone();
            return Some(Next::Rejoin {
                via,
                cluster_id: cluster_id.clone(),
            });
        }
        unconfirmed = Some(&answer.name);
    }
    if let (None, Some(outdated)) = (unconfirmed, outdated) {
        let text = format!(
            "{} is of generation {}, and this member was told of generation {}: nobody of that one \
             answers",
            outdated.name, outdated.generation, me.generation
        );
        return Some(Next::Wait(Reason::RuledOut, text));
    }
    let name = unconfirmed?;
    let text = format!("{name} belongs to a cluster whose quorum does not answer");
    Some(Next::Wait(Reason::NoQuorum, text))
}

fn bind(me: &Hello, answers: &[&Hello]) -> Next {
    let first = me.peers.keys().next();
    let leads = first == Some(&me.name);
    let own = match &me.standing {
        Standing::Bound(id) => Some(id),
        Standing::Nothing | Standing::Member { .. } | Standing::Damaged | Standing::Lost => None,
    };
    if leads {
        let all_bound = own.is_some_and(|own| {
            answers
                .iter()
                .all(|answer| answer.standing == Standing::Bound(own.clone()))
        });
        if all_bound {
            return Next::Start { initialize: true };
        }
        return Next::Form(own.cloned());
    }
    let former = answers.iter().find(|answer| Some(&answer.name) == first);
    match (own, former.map(|hello| &hello.standing)) {
        (Some(own), Some(Standing::Bound(theirs))) if own == theirs => {
            Next::Start { initialize: false }
        }
        // Everybody answered and nobody has an entry of it.
        (Some(_), _) => Next::Unbind,
        (None, _) => {
            let text = first.map_or_else(String::new, |name| format!("{name} forms the cluster"));
            Next::Wait(Reason::Forming, text)
        }
    }
}
