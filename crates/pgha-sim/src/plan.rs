//! What is to break in a run, drawn before it begins: each fault has a number and luck of its own, so that
//! a run without some of them is still the same run.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::event::Event;
use crate::fault::Fault;
use crate::profile::Profile;
use crate::time::{MS, Nanos};
use crate::world::World;

/// One fault of the plan.
#[derive(Clone, Debug)]
pub struct Planned {
    /// When it strikes.
    pub at: Nanos,
    /// What it is.
    pub fault: Fault,
    /// Decides where it strikes, and for how long.
    luck: u64,
}

/// The faults of a run with this seed.
pub fn draw(seed: u64, profile: &Profile) -> Vec<Planned> {
    let mut rng = StdRng::seed_from_u64(seed ^ 0x5EED);
    let mut at = rng.random_range(500..8000) * MS;
    let mut plan = Vec::new();
    while at < profile.chaos {
        plan.push(Planned {
            at,
            fault: profile.kinds[rng.random_range(0..profile.kinds.len())],
            luck: rng.random(),
        });
        at += rng.random_range(1..=2 * profile.pause_ms) * MS;
    }
    if let Some(at) = profile.quorum_lost.filter(|at| *at < profile.chaos) {
        let (fault, luck) = (Fault::QuorumLost, rng.random());
        plan.push(Planned { at, fault, luck });
    }
    plan
}

impl World {
    pub(crate) fn plan_begins(&mut self, only: Option<&BTreeSet<usize>>) {
        for (number, planned) in self.plan.iter().enumerate() {
            if only.is_none_or(|only| only.contains(&number)) {
                self.queue.push(planned.at, Event::Planned(number));
            }
        }
    }

    /// Breaks what was planned.
    pub(crate) fn planned(&mut self, number: usize) {
        let Planned { fault, luck, .. } = self.plan[number];
        let others = std::mem::replace(&mut self.rng, StdRng::seed_from_u64(luck));
        self.trace(None, || format!("FAULT {number} of the plan"));
        self.strike(fault);
        self.rng = others;
    }
}
