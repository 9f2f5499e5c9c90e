//! What each set of answers leads to.

use std::collections::BTreeMap;

use super::*;
use crate::{Generation, MemberName, Reason, SystemIdentifier};

fn hello(name: &str, standing: Standing) -> Hello {
    let peers = ["a", "b", "c"].map(|n| (MemberName::from(n), format!("host-{n}:7400")));
    Hello {
        cluster: "main".to_owned(),
        name: name.into(),
        store_id: name.into(),
        peers: peers.into(),
        standing,
        generation: Generation(1),
        system_identifier: None,
    }
}

fn answers(hellos: [Option<Hello>; 2], names: [&str; 2]) -> BTreeMap<MemberName, Option<Hello>> {
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
fn who_was_ruled_out_joins_the_generation_that_it_was_told_of_or_a_later_one() {
    let member = |name: &str, generation| {
        let standing = Standing::Member {
            cluster_id: "x".into(),
            confirmed: true,
        };
        Some(Hello {
            generation: Generation(generation),
            ..hello(name, standing)
        })
    };
    let me = Hello {
        generation: Generation(2),
        ..hello("a", Standing::Damaged)
    };
    // Those who were lost as well may have a quorum of their own.
    let old = answers([member("b", 1), None], ["b", "c"]);
    assert!(matches!(
        next(&me, None, &old),
        Next::Wait(Reason::RuledOut, _)
    ));
    for (generation, via) in [(2, "c"), (3, "c"), (1, "b")] {
        let both = answers([member("b", 2), member("c", generation)], ["b", "c"]);
        let Next::Rejoin { via: chosen, .. } = next(&me, None, &both) else {
            panic!("does not join");
        };
        let newest = if generation == 2 { "b" } else { via };
        assert_eq!(chosen, newest.into(), "{generation}");
    }
    // A member whose store was damaged was told of none, and joins the newest as well.
    let damaged = Hello {
        generation: Generation(0),
        ..me
    };
    let both = answers([member("b", 1), member("c", 2)], ["b", "c"]);
    assert!(matches!(
        next(&damaged, None, &both),
        Next::Rejoin { via, .. } if via == "c".into()
    ));
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
