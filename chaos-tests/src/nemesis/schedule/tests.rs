use super::*;
use clap::ValueEnum;

#[test]
fn a_seed_is_a_schedule() {
    for kind in Kind::value_variants() {
        for round in 0..50 {
            let drawn = Schedule::draw(*kind, 7, round);
            assert_eq!(drawn, Schedule::draw(*kind, 7, round));
            assert!(!drawn.entries.is_empty(), "{kind:?}");
            assert!(drawn.entries.is_sorted_by_key(|entry| entry.at));
        }
    }
    let texts: std::collections::BTreeSet<String> = (0..50)
        .map(|round| Schedule::draw(Kind::Mixed, 7, round).to_string())
        .collect();
    assert_eq!(texts.len(), 50, "rounds repeat each other");
}

#[test]
fn every_place_and_mixable_kind_is_drawn() {
    let drawn: Vec<Entry> = (0..500)
        .flat_map(|round| Schedule::draw(Kind::Mixed, 1, round).entries)
        .collect();
    for kind in Kind::MIXABLE {
        assert!(drawn.iter().any(|entry| entry.kind == kind), "{kind:?}");
    }
    for place in [
        Place::Primary,
        Place::Replica(1),
        Place::RaftLeader,
        Place::Replicas,
    ] {
        assert!(drawn.iter().any(|entry| entry.place == place), "{place}");
    }
}

#[test]
fn every_mixed_round_has_a_switchover_while_another_fault_lasts() {
    for seed in 0..300 {
        for round in 0..3 {
            let schedule = Schedule::draw(Kind::Mixed, seed, round);
            let (switchovers, faults): (Vec<&Entry>, Vec<&Entry>) = schedule
                .entries
                .iter()
                .partition(|entry| entry.kind == Kind::Switchover);
            let meanwhile = |at| faults.iter().any(|f| f.at < at && at < f.at + f.length);
            assert!(switchovers.iter().any(|s| meanwhile(s.at)), "{schedule}");
        }
    }
}

#[test]
fn the_first_round_hits_the_primary() {
    for kind in Kind::value_variants() {
        let places: Vec<Place> = (0..5)
            .flat_map(|seed| Schedule::draw(*kind, seed, 0).entries)
            .map(|entry| entry.place)
            .collect();
        let primary = places.iter().all(|place| *place == Place::Primary);
        assert!(primary || !draw::is_anywhere(*kind), "{kind:?}: {places:?}");
    }
}

#[test]
fn the_first_round_outlasts_what_a_hung_server_is_given() {
    for kind in [Kind::PostmasterFrozen, Kind::PostgresFrozen] {
        for seed in 0..20 {
            let [entry] = Schedule::draw(kind, seed, 0).entries[..] else {
                panic!("one fault");
            };
            assert!(entry.length > Duration::from_secs(11), "{entry:?}");
        }
    }
}
