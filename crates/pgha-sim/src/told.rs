//! How far a quorum of voters was told that a primary's WAL goes, whoever of them remembers it, and what
//! an acknowledged write that a failover lost is measured against (P3).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pgha_core::command::Primary;
use pgha_core::invariant::{self, LossBound, MissingWrite};
use pgha_core::journal::JournalEntry;
use pgha_core::lease::{LeaseTiming, Renewal};
use pgha_core::{Epoch, ForkId, Lsn, RaftId, StartKind};

use crate::time::Nanos;
use crate::world::World;

/// What the grantors of one epoch were told.
#[derive(Clone, Debug, Default)]
struct Holding {
    timing: Option<LeaseTiming>,
    /// Of each renewal that may still be granted by somebody: when it was sent, and how far it said that
    /// the WAL goes.
    sends: BTreeMap<u64, (Nanos, Lsn)>,
    /// The newest that each voter granted.
    granted: BTreeMap<RaftId, u64>,
    /// The newest that a quorum granted.
    quorum: Option<QuorumTold>,
}

/// How far a quorum was told that the WAL goes, and when that was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct QuorumTold {
    at: Nanos,
    flush_lsn: Lsn,
}

/// What was known when a promotion was proposed.
#[derive(Clone, Debug)]
struct Election {
    max_lag: u64,
    quorum: BTreeMap<Epoch, QuorumTold>,
    /// The epochs of which nobody who can be heard remembers as much as a quorum was told.
    unknown: BTreeSet<Epoch>,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Told {
    holdings: BTreeMap<Epoch, Holding>,
    elections: BTreeMap<ForkId, Election>,
    /// The fork id of the promotion that an epoch was committed with.
    promoted: BTreeMap<Epoch, ForkId>,
}

impl World {
    /// A holder is about to send this.
    pub(crate) fn tells(&mut self, send: u64, renewal: &Renewal<u64>) {
        let holding = self.told.holdings.entry(renewal.epoch).or_default();
        holding.timing = Some(renewal.timing);
        holding.sends.insert(send, (self.now, renewal.flush_lsn));
    }

    /// A voter has granted the renewal of `holder` with this number.
    pub(crate) fn was_told(&mut self, holder: usize, by: RaftId, epoch: Epoch, send: u64) {
        let quorums = self.electorate(holder);
        let Some(holding) = self.told.holdings.get_mut(&epoch) else {
            return;
        };
        let newest = holding.granted.entry(by).or_insert(send);
        *newest = (*newest).max(send);
        let newest = |id: RaftId| {
            let send = holding.granted.get(&id)?;
            Some(pgha_core::Mono::from_nanos(*send))
        };
        let Some(send) = quorums.reached_at(newest) else {
            return;
        };
        let send = send.since(pgha_core::Mono::ZERO).as_nanos();
        let send = u64::try_from(send).unwrap_or(u64::MAX);
        holding.sends = holding.sends.split_off(&send);
        let told = holding.sends.get(&send);
        let told = told.map(|(at, flush_lsn)| QuorumTold {
            at: *at,
            flush_lsn: *flush_lsn,
        });
        holding.quorum = holding.quorum.max(told);
    }

    /// A member that leads proposes this primary, by the settings that it has applied.
    pub(crate) fn notes_election(&mut self, node: usize, primary: &Primary) {
        let Some(fork_id) = &primary.fork_id else {
            return;
        };
        let holdings = self.told.holdings.iter();
        let quorum = holdings.filter_map(|(epoch, holding)| Some((*epoch, holding.quorum?)));
        let quorum: BTreeMap<_, _> = quorum.collect();
        let remembers = |epoch: Epoch| {
            let heard = (0..self.nodes.len()).filter(|other| self.linked(node, *other));
            let sidecars = heard.filter_map(|other| self.nodes[other].sidecar.as_ref());
            sidecars.filter_map(|s| s.grantor.flush_lsn(epoch)).max()
        };
        let forgotten = quorum
            .iter()
            .filter(|(epoch, told)| remembers(**epoch) < Some(told.flush_lsn))
            .map(|(epoch, _)| *epoch);
        let state = &self.nodes[node].disk.state;
        let election = Election {
            max_lag: state.settings.max_lag_on_failover,
            unknown: forgotten.collect(),
            quorum,
        };
        self.told.elections.insert(fork_id.clone(), election);
    }

    pub(crate) fn notes_promotion(&mut self, primary: &Primary) {
        if let Some(fork_id) = &primary.fork_id {
            self.told.promoted.insert(primary.epoch, fork_id.clone());
        }
    }

    /// P3, at an opening: nothing is missing that a failover which nobody ordered may not lose.
    ///
    /// Not kept yet: where the processes of all who had been told have ended since, and their memory with
    /// them, the next primary may be chosen by what somebody else was told long before.
    pub(crate) fn check_bound(&mut self, missing: &[(MissingWrite, Nanos)]) {
        for (write, acknowledged) in missing {
            let Some((bound, unknown)) = self.bound_of(write, *acknowledged) else {
                continue;
            };
            self.count("loss measured");
            let checked = invariant::loss_bounded(write, &bound);
            if checked.is_err() && unknown {
                self.count("loss beyond the bound, unknown to the election");
                continue;
            }
            self.check(checked);
        }
    }

    /// The bound, and whether the election could not know what it is measured against. `None` where an operator
    /// accepted the loss, and where a restart in place is to blame for it.
    fn bound_of(&self, write: &MissingWrite, acknowledged: Nanos) -> Option<(LossBound, bool)> {
        let journal = self.truth.journal.iter();
        let after = |e: &&JournalEntry| e.epoch > write.written && e.epoch <= write.epoch;
        let after: Vec<_> = journal.filter(after).collect();
        let accepted = |e: &&JournalEntry| {
            e.primary.is_some() && e.cause.accepts_loss_for() == e.primary.as_ref()
        };
        let losing = after.iter().find(|e| e.epoch == write.epoch)?;
        if losing.kind != Some(StartKind::Promotion) || after.iter().any(accepted) {
            return None;
        }
        let fork_id = self.told.promoted.get(&write.epoch)?;
        let election = self.told.elections.get(fork_id)?;
        // A start in place goes on from there, and its holder tells at least as much.
        let in_place = after.iter();
        let in_place = in_place.take_while(|e| e.kind != Some(StartKind::Promotion));
        let in_place = in_place.map(|e| e.epoch);
        let told_in = in_place.filter(|epoch| election.quorum.contains_key(epoch));
        let told_in = told_in.last().unwrap_or(write.written);
        let told = election.quorum.get(&told_in).copied().unwrap_or_default();
        let bound = LossBound {
            max_lag: election.max_lag,
            told: told.flush_lsn,
            acknowledged_after: Duration::from_nanos(acknowledged.saturating_sub(told.at)),
            timing: self.told.holdings.get(&told_in)?.timing?,
        };
        Some((bound, election.unknown.contains(&told_in)))
    }
}
