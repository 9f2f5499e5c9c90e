//! What a node knows: the settings and the voters, by as much of the log as it has.

use std::collections::BTreeSet;
use std::time::Duration;

use pgha_core::lease::{LeaseTiming, Quorums};
use pgha_core::{Mono, RaftId, Settings};

use crate::rules::Rules;

use super::LeaseModel;
use super::world::{Entry, State};

/// Late enough for everything that counts to be later than zero.
const BEGIN: Mono = Mono::from_millis(1_000_000);

/// What follows from so many changes of the voters, applied and effective, and of the settings.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    quorums: [[Quorums; 3]; 3],
    settings: Vec<(LeaseTiming, Duration)>,
}

impl LeaseModel {
    pub(super) fn now(&self, state: &State) -> Mono {
        let tick = u32::try_from(state.tick).expect("few ticks");
        BEGIN + self.tick * tick
    }

    /// The lease and the wait of the settings that a node has applied.
    fn settings(&self, state: &State, node: usize) -> (LeaseTiming, Duration) {
        let applied = state.nodes[node].applied;
        let changes = state.count(applied, |entry| matches!(entry, Entry::LeaseMs(_)));
        let tables = self.tables.get_or_init(|| self.tabulate());
        tables.settings[changes as usize]
    }

    /// The lease that a node believes to be in force.
    pub(super) fn timing(&self, state: &State, node: usize) -> LeaseTiming {
        self.settings(state, node).0
    }

    /// How long a started or changed node waits, as it believes.
    pub(super) fn start_wait(&self, state: &State, node: usize) -> Duration {
        let (timing, wait) = self.settings(state, node);
        match self.rules {
            Rules::NoStartWait => Duration::ZERO,
            Rules::CeilingForgotten => timing.promise(),
            _ => wait,
        }
    }

    /// The longest that anybody ever waits.
    pub(super) fn longest_wait(&self) -> Duration {
        let tables = self.tables.get_or_init(|| self.tabulate());
        let waits = tables.settings.iter().map(|(_, wait)| *wait);
        waits.max().unwrap_or_default()
    }

    /// What a holder says of that in its renewals.
    pub(super) fn told_wait(&self, state: &State, node: usize) -> Duration {
        match self.rules {
            Rules::OwnSettingsCount | Rules::MembershipIdAlone => Duration::ZERO,
            _ => self.start_wait(state, node),
        }
    }

    /// The voters, before, while and after they change.
    pub(super) fn sets(&self, membership: u64) -> Vec<BTreeSet<RaftId>> {
        let [old, new] = self
            .voters
            .map(|ids| ids.iter().copied().map(RaftId).collect());
        match membership {
            0 => vec![old],
            1 => vec![old, new],
            _ => vec![new],
        }
    }

    /// Who is no voter yet.
    pub(super) fn joining(&self) -> impl Iterator<Item = RaftId> {
        let [old, new] = self.voters;
        let joins = new.iter().filter(|id| !old.contains(id));
        joins.copied().map(RaftId)
    }

    /// Every half of the memberships that a node knows to be committed, may be, and is effective: while
    /// the effective one is not applied, the one before it counts too.
    pub(super) fn quorums(&self, state: &State, node: usize) -> &Quorums {
        let node = &state.nodes[node];
        let applied = state.count(node.applied, |entry| *entry == Entry::Voters);
        let table = self.tables.get_or_init(|| self.tabulate());
        &table.quorums[applied as usize][node.membership as usize]
    }

    /// Every half of the memberships that are applied and effective; while these differ, of the one
    /// before the effective one too.
    fn quorums_of(&self, applied: u64, effective: u64) -> Quorums {
        if self.rules == Rules::OnlyTheNewHalf {
            return Quorums::new(self.sets(effective).pop());
        }
        let settled = applied == effective;
        let before = self.sets(effective.saturating_sub(1));
        Quorums::to_ask(settled, &before, &self.sets(applied), &self.sets(effective))
    }

    fn tabulate(&self) -> Tables {
        let mut settings = Settings {
            lease_ms: self.lease_ms[0],
            lease_ceiling_ms: self.lease_ms[0],
            ..Settings::default()
        };
        let of = |settings: &Settings| (settings.lease(), settings.start_wait());
        let mut all = vec![of(&settings)];
        for ms in &self.lease_ms[1..] {
            settings.set("lease_ms", &ms.to_string()).expect("valid");
            all.push(of(&settings));
        }
        let row = |applied| std::array::from_fn(|m| self.quorums_of(applied, m as u64));
        Tables {
            quorums: std::array::from_fn(|applied| row(applied as u64)),
            settings: all,
        }
    }
}
