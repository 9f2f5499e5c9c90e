//! Who leads the Raft group while there is a primary.

use std::collections::BTreeSet;

use super::entries::name;
use super::scene::Scene;
use super::views::{held, report_of};
use crate::decide::*;
use crate::lease::Quorums;
use crate::{Epoch, Nonce, RaftId};

/// n2 is primary and leads.
fn leading_primary() -> Scene {
    let mut scene = Scene::new();
    scene.me.name = name(2);
    scene.me.nonce = Nonce(2);
    scene.raft.leader = Some(name(2));
    scene.raft.transfer_tried = None;
    scene.local.lease = held(1);
    scene.local.gate_open = Some(Epoch(1));
    scene.hears(report_of(1));
    scene.hears(report_of(3));
    scene
}

fn is_moved(scene: &Scene) -> bool {
    let mut actions = scene.decide().actions.into_iter();
    actions.any(|action| matches!(action, Action::TransferLeadership(_)))
}

#[test]
fn the_lead_is_moved_away_from_the_primary() {
    assert!(is_moved(&leading_primary()));
}

/// A raft leader that is missed while the voters change cost a primary its lease.
#[test]
fn the_lead_stays_while_the_voters_change() {
    let set = |ids: &[u64]| -> BTreeSet<RaftId> { ids.iter().copied().map(RaftId).collect() };
    let mut joint = leading_primary();
    joint.raft.quorums = Quorums::new([set(&[1, 2]), set(&[1, 2, 3])]);
    assert!(!is_moved(&joint));

    let mut learner = leading_primary();
    learner.raft.quorums = Quorums::new([set(&[1, 2])]);
    learner.raft.voters.remove(&RaftId(3));
    assert!(!is_moved(&learner));
    // Who is not there gets no vote for now.
    learner.peers.remove(&name(3));
    assert!(is_moved(&learner));
    // Who leaves cannot wait for anybody.
    joint.local.shutting_down = true;
    assert!(is_moved(&joint));
}
