//! How sidecars with one peer list become a cluster, and how one that lost its store finds back.

use std::collections::BTreeMap;

use crate::{ClusterId, MemberName, Reason, StoreId, SystemIdentifier};

/// What a member answers for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// An empty store, and a data directory without the mark of a cluster.
    Nothing,
    /// Bound to a cluster by a Form, without any committed entry.
    Bound(ClusterId),
    /// Has committed entries of this cluster.
    Member {
        /// Which.
        cluster_id: ClusterId,
        /// A quorum confirmed it within this very answer.
        confirmed: bool,
    },
    /// Its store was quarantined.
    Damaged,
    /// Its data directory carries the mark of a cluster, its store is gone.
    Lost,
}

/// A member's answer to a Hello, or this member's own facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Name of the cluster it is for.
    pub cluster: String,
    /// Who answers.
    pub name: MemberName,
    /// Its store.
    pub store_id: StoreId,
    /// Its peer list, name to address.
    pub peers: BTreeMap<MemberName, String>,
    /// What it is.
    pub standing: Standing,
    /// Whose data directory it has.
    pub system_identifier: Option<SystemIdentifier>,
}

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

/// Everybody else would be sent to the other one.
fn impostor(me: &Hello, own: Option<&Hello>) -> Option<Next> {
    let other = own.filter(|answer| answer.store_id != me.store_id)?;
    let address = me.peers.get(&me.name).map_or("", String::as_str);
    let text = format!(
        "{address} is listed for {} and leads to another sidecar, which calls itself {}",
        me.name, other.name
    );
    Some(Next::Wait(Reason::NameTaken, text))
}

fn contradiction(me: &Hello, peers: &BTreeMap<MemberName, Option<Hello>>) -> Option<Next> {
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

fn living_cluster(me: &Hello, answers: &[&Hello]) -> Option<Next> {
    let mut unconfirmed = None;
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
        if *confirmed {
            let via = answer.name.clone();
            return Some(Next::Rejoin {
                via,
                cluster_id: cluster_id.clone(),
            });
        }
        unconfirmed = Some(&answer.name);
    }
    let name = unconfirmed?;
    let text = format!("{name} belongs to a cluster whose quorum does not answer");
    Some(Next::Wait(Reason::NoQuorum, text))
}

fn not_pristine(me: &Hello, answers: &[&Hello]) -> Option<Next> {
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

fn bind(me: &Hello, answers: &[&Hello]) -> Next {
    let first = me.peers.keys().next();
    let leads = first == Some(&me.name);
    let own = match &me.standing {
        Standing::Bound(id) => Some(id),
        _ => None,
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

fn list(peers: &BTreeMap<MemberName, String>) -> String {
    let entries: Vec<String> = peers
        .iter()
        .map(|(name, at)| format!("{name}={at}"))
        .collect();
    entries.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(name: &str, standing: Standing) -> Hello {
        let peers = ["a", "b", "c"].map(|n| (MemberName::from(n), format!("host-{n}:7400")));
        Hello {
            cluster: "main".to_owned(),
            name: name.into(),
            store_id: name.into(),
            peers: peers.into(),
            standing,
            system_identifier: None,
        }
    }

    fn answers(
        hellos: [Option<Hello>; 2],
        names: [&str; 2],
    ) -> BTreeMap<MemberName, Option<Hello>> {
        names
            .map(MemberName::from)
            .into_iter()
            .zip(hellos)
            .collect()
    }

    fn nothing(name: &str) -> Option<Hello> {
        Some(hello(name, Standing::Nothing))
    }

    fn bound(name: &str, id: &str) -> Option<Hello> {
        Some(hello(name, Standing::Bound(id.into())))
    }

    #[test]
    fn the_first_by_name_forms_when_all_answer_nothing() {
        let me = hello("a", Standing::Nothing);
        assert_eq!(
            next(
                &me,
                None,
                &answers([nothing("b"), nothing("c")], ["b", "c"])
            ),
            Next::Form(None)
        );
        let me = hello("b", Standing::Nothing);
        let waits = next(
            &me,
            None,
            &answers([nothing("a"), nothing("c")], ["a", "c"]),
        );
        assert!(matches!(waits, Next::Wait(Reason::Forming, _)), "{waits:?}");
    }

    #[test]
    fn a_missing_peer_is_named() {
        let me = hello("a", Standing::Nothing);
        let Next::Wait(Reason::PeerMissing, text) =
            next(&me, None, &answers([nothing("b"), None], ["b", "c"]))
        else {
            panic!("does not wait");
        };
        assert!(text.contains('c'), "{text}");
    }

    #[test]
    fn a_first_member_that_was_restarted_goes_on_with_its_cluster_id() {
        let me = bound("a", "x").expect("is one");
        let some = answers([bound("b", "x"), nothing("c")], ["b", "c"]);
        assert_eq!(next(&me, None, &some), Next::Form(Some("x".into())));
        let all = answers([bound("b", "x"), bound("c", "x")], ["b", "c"]);
        assert_eq!(next(&me, None, &all), Next::Start { initialize: true });
    }

    #[test]
    fn a_binding_that_its_maker_lost_is_dropped() {
        let me = bound("b", "x").expect("is one");
        let lost = answers([nothing("a"), bound("c", "x")], ["a", "c"]);
        assert_eq!(next(&me, None, &lost), Next::Unbind);
        let unknown = answers([None, bound("c", "x")], ["a", "c"]);
        assert!(matches!(
            next(&me, None, &unknown),
            Next::Wait(Reason::PeerMissing, _)
        ));
    }

    #[test]
    fn a_wiped_member_rejoins_only_what_a_quorum_confirms() {
        let member = |confirmed| {
            Some(hello(
                "b",
                Standing::Member {
                    cluster_id: "x".into(),
                    confirmed,
                },
            ))
        };
        for standing in [Standing::Nothing, Standing::Damaged, Standing::Lost] {
            let me = hello("a", standing);
            let alive = answers([member(true), None], ["b", "c"]);
            let via = MemberName::from("b");
            assert_eq!(
                next(&me, None, &alive),
                Next::Rejoin {
                    via,
                    cluster_id: "x".into()
                }
            );
            let silent = answers([member(false), nothing("c")], ["b", "c"]);
            assert!(matches!(
                next(&me, None, &silent),
                Next::Wait(Reason::NoQuorum, _)
            ));
        }
    }

    #[test]
    fn a_damaged_store_never_forms() {
        let me = hello("a", Standing::Nothing);
        let damaged = Some(hello("b", Standing::Damaged));
        let next_step = next(&me, None, &answers([damaged, nothing("c")], ["b", "c"]));
        assert!(
            matches!(next_step, Next::Wait(Reason::StoreDamaged, _)),
            "{next_step:?}"
        );
    }

    #[test]
    fn contradictions_are_named() {
        let me = hello("a", Standing::Nothing);
        let mut foreign = hello("b", Standing::Nothing);
        foreign.cluster = "other".to_owned();
        let step = next(
            &me,
            None,
            &answers([Some(foreign), nothing("c")], ["b", "c"]),
        );
        assert!(
            matches!(step, Next::Wait(Reason::ForeignCluster, _)),
            "{step:?}"
        );
        let mut differs = hello("b", Standing::Nothing);
        differs.peers.remove(&MemberName::from("c"));
        let step = next(
            &me,
            None,
            &answers([Some(differs), nothing("c")], ["b", "c"]),
        );
        assert!(
            matches!(step, Next::Wait(Reason::PeerListsDiffer, _)),
            "{step:?}"
        );
        let mut data = hello("b", Standing::Nothing);
        data.system_identifier = Some(SystemIdentifier(1));
        let mut other = hello("c", Standing::Nothing);
        other.system_identifier = Some(SystemIdentifier(2));
        let step = next(&me, None, &answers([Some(data), Some(other)], ["b", "c"]));
        assert!(
            matches!(step, Next::Wait(Reason::SystemIdentifiersDiffer, _)),
            "{step:?}"
        );
    }

    #[test]
    fn whoever_is_not_at_its_own_address_takes_no_part() {
        let me = hello("a", Standing::Nothing);
        let all = answers([nothing("b"), nothing("c")], ["b", "c"]);
        assert_eq!(next(&me, Some(&me), &all), Next::Form(None));
        let mut other = me.clone();
        other.store_id = "another".into();
        let Next::Wait(Reason::NameTaken, text) = next(&me, Some(&other), &all) else {
            panic!("takes part");
        };
        assert!(text.contains("host-a:7400"), "{text}");
    }

    #[test]
    fn a_cluster_of_one_forms_by_itself() {
        let mut me = hello("a", Standing::Nothing);
        me.peers.retain(|name, _| name.as_str() == "a");
        assert_eq!(next(&me, None, &BTreeMap::new()), Next::Form(None));
        me.standing = Standing::Bound("x".into());
        assert_eq!(
            next(&me, None, &BTreeMap::new()),
            Next::Start { initialize: true }
        );
    }
}
