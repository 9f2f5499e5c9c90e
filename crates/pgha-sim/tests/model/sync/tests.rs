//! Primaries that are lost and replaced while sets change.

use std::collections::BTreeSet;

use pgha_core::sync::Method;
use stateright::{Expectation, Model};

use super::{Rules, SyncModel};
use crate::{NONE_LOST, exhaust, is_caught};

const EITHER: [Method; 2] = [Method::Quorum, Method::Priority];

/// A primary and two standbys, of which one or both are waited for.
fn three_members(name: &'static str, steps: u8, commits: u8) -> SyncModel {
    SyncModel::new(name, 2, &[1, 2], steps, commits)
}

fn four_members(name: &'static str) -> SyncModel {
    SyncModel::new(name, 3, &[2], 1, 1)
}

fn with_async(name: &'static str) -> SyncModel {
    SyncModel::new(name, 2, &[0, 1, 2], 2, 1)
}

/// All of it holds, and all that should happen somewhere does.
fn none_is_lost(world: SyncModel) {
    let properties = world.properties().into_iter();
    let expected: BTreeSet<_> = properties
        .filter(|property| property.expectation == Expectation::Sometimes)
        .map(|property| property.name)
        .collect();
    assert!(expected.len() >= 3, "{expected:?}");
    assert_eq!(exhaust(world.name, world), expected);
}

#[test]
fn primaries_are_replaced_by_quorum() {
    let step = "sync: 3 members, quorum, 1 step, 1 commit, 2 promotions";
    none_is_lost(three_members(step, 1, 1).promoting(2));
    let commits = "sync: 3 members, quorum, 2 commits, 2 promotions";
    none_is_lost(three_members(commits, 0, 2).promoting(2));
    let steps = "sync: 3 members, quorum, 2 steps, 2 commits, 1 promotion";
    none_is_lost(three_members(steps, 2, 2).promoting(1));
    let four = "sync: 4 members, any 2, 1 step, 1 commit, 1 promotion";
    none_is_lost(four_members(four).promoting(1));
    let listed = "sync: 3 members, quorum, primary listed too, 1 step, 1 commit, 1 promotion";
    let listed = three_members(listed, 1, 1).listing_the_primary();
    none_is_lost(listed.promoting(1));
}

#[test]
fn primaries_are_replaced_by_priority() {
    let twice = "sync: 3 members, priority, 1 commit, 2 promotions";
    let twice = three_members(twice, 0, 1).by_methods(&[Method::Priority]);
    none_is_lost(twice.promoting(2));
    let either = "sync: 3 members, priority or quorum, 1 step, 1 commit, 1 promotion";
    let either = three_members(either, 1, 1).by_methods(&EITHER);
    none_is_lost(either.promoting(1));
}

#[test]
fn primaries_that_waited_for_nobody_are_replaced() {
    let world = with_async("sync: 3 members, async or quorum, 2 steps, 1 commit, 1 promotion");
    none_is_lost(world.promoting(1));
}

#[test]
fn every_naive_rule_of_promotions_is_caught() {
    let caught = |rules, world: SyncModel| {
        is_caught(rules, world.name, world.by(rules), NONE_LOST);
    };
    let quorum = || three_members("sync: 3 members, quorum, 1 promotion", 0, 1).promoting(1);
    let priority = || {
        let world = three_members("sync: 3 members, priority, 1 promotion", 0, 1);
        world.by_methods(&[Method::Priority]).promoting(1)
    };
    let step = || three_members("sync: 3 members, quorum, 1 step, 1 promotion", 1, 1).promoting(1);
    caught(Rules::NewPrimaryAlone, quorum());
    caught(Rules::NewPrimaryAlone, priority());
    caught(Rules::UnfinishedStepForgotten, step());
    caught(Rules::OpensAtOnce, quorum());
    caught(Rules::OpensAtOnce, priority());
    caught(Rules::FencedPrimaryIsEnough, quorum());
    caught(Rules::EveryFormerPrimary, quorum());
}
