//! How far a quorum of voters was told that a primary's WAL goes, whoever of them remembers it, and what
//! an acknowledged write that a failover lost is measured against (P3).

use std::collections::BTreeMap;
use std::time::Duration;

use pgha_core::command::Primary;
use pgha_core::invariant::{self, LossBound, MissingWrite};
use pgha_core::journal::JournalEntry;
use pgha_core::lease::{LeaseTiming, Renewal};
use pgha_core::{Epoch, ForkId, Lsn, Mono, RaftId, StartKind};

use crate::time::Nanos;
use crate::world::World;

/// What the grantors of one epoch were told.
#[derive(Clone, Debug, Default)]
struct Holding {
    timing: Option<LeaseTiming>,
    /// Of each renewal that may still be granted by somebody: when it was sent, and how far it said that
    /// the WAL goes.
    sends: BTreeMap<u64, (Nanos, Lsn)>,
    /// When the newest was sent that told this.
    sent: BTreeMap<Lsn, Nanos>,
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
    /// How far the chosen one came, and so where it leaves the line.
    lsn: Lsn,
    /// What a quorum had been told of each epoch.
    quorum: BTreeMap<Epoch, QuorumTold>,
    /// What a quorum knew of it yet.
    known: BTreeMap<Epoch, QuorumTold>,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The longest that any write of what a voter was told takes.
    pub(crate) slowest_write: Nanos,
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
        holding.sent.insert(renewal.flush_lsn, self.now);
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
            Some(Mono::from_nanos(*send))
        };
        let Some(send) = quorums.reached_at(newest) else {
            return;
        };
        let send = send.since(Mono::ZERO).as_nanos();
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
        let state = &self.nodes[node].disk.state;
        let election = Election {
            max_lag: state.settings.max_lag_on_failover,
            lsn: primary.lsn,
            quorum: self.quorum_told(|holding| holding.quorum),
            known: self.quorum_knows(node),
        };
        self.told.elections.insert(fork_id.clone(), election);
        self.check_choice(node, primary);
    }

    fn quorum_told(
        &self,
        told: impl Fn(&Holding) -> Option<QuorumTold>,
    ) -> BTreeMap<Epoch, QuorumTold> {
        let holdings = self.told.holdings.iter();
        let told = holdings.filter_map(|(epoch, holding)| Some((*epoch, told(holding)?)));
        told.collect()
    }

    /// What a quorum of the voters that this node counts with knows yet of each epoch.
    fn quorum_knows(&self, node: usize) -> BTreeMap<Epoch, QuorumTold> {
        let quorums = self.electorate(node);
        let of = |id: RaftId| self.nodes.iter().position(|n| n.disk.raft_id == Some(id));
        let known = |(epoch, holding): (&Epoch, &Holding)| {
            let lsn = |id: RaftId| self.knows_told(of(id)?, *epoch);
            let lsn = quorums.reached_at(|id| Some(Mono::from_nanos(lsn(id)?.0)))?;
            let nanos = lsn.since(Mono::ZERO).as_nanos();
            let flush_lsn = Lsn(u64::try_from(nanos).unwrap_or(u64::MAX));
            let at = *holding.sent.get(&flush_lsn)?;
            Some((*epoch, QuorumTold { at, flush_lsn }))
        };
        self.told.holdings.iter().filter_map(known).collect()
    }

    /// How the promotion that this epoch began with was chosen.
    fn election_of(&self, epoch: Epoch) -> Option<&Election> {
        let fork_id = self.told.promoted.get(&epoch)?;
        self.told.elections.get(fork_id)
    }

    pub(crate) fn notes_promotion(&mut self, primary: &Primary) {
        if let Some(fork_id) = &primary.fork_id {
            self.told.promoted.insert(primary.epoch, fork_id.clone());
        }
    }

    /// P3, at an opening: nothing is missing that a failover which nobody ordered may not lose. Where
    /// voters have forgotten the last that they were told, it is measured against what they know.
    pub(crate) fn check_bound(&mut self, missing: &[(MissingWrite, Nanos)]) {
        if self.profile.wild_clocks {
            return;
        }
        for (write, acknowledged) in missing {
            let Some((told, known)) = self.bounds_of(write, *acknowledged) else {
                continue;
            };
            self.count("loss measured");
            let checked = invariant::loss_bounded(write, &told);
            let forgiven = known.filter(|known| invariant::loss_bounded(write, known).is_ok());
            if checked.is_err() && forgiven.is_some() {
                self.count("loss measured by what was not forgotten");
                continue;
            }
            self.check(checked);
        }
    }

    /// The bound by what a quorum was told, and where a quorum knows less by now, by what it knows. `None`
    /// where an operator accepted the loss, and where a restart in place is to blame for it.
    fn bounds_of(
        &self,
        write: &MissingWrite,
        acknowledged: Nanos,
    ) -> Option<(LossBound, Option<LossBound>)> {
        let journal = self.truth.journal.iter();
        let after = |e: &&JournalEntry| e.epoch > write.written && e.epoch <= write.epoch;
        let after: Vec<_> = journal.filter(after).collect();
        let accepted = |e: &&JournalEntry| {
            e.primary.is_some() && e.cause.accepts_loss_for() == e.primary.as_ref()
        };
        if after.iter().any(accepted) {
            return None;
        }
        let promotes = |e: &&JournalEntry| e.kind == Some(StartKind::Promotion);
        // One that never opened is in the journal without the place where it left the line.
        let left_at =
            |e: &JournalEntry| e.fork_lsn.or_else(|| Some(self.election_of(e.epoch)?.lsn));
        let loses = |e: &&JournalEntry| promotes(e) && left_at(e).is_none_or(|at| at < write.end);
        let (before, losing) = match after.iter().position(loses) {
            Some(losing) => (&after[..losing], after[losing]),
            None => return None,
        };
        let election = self.election_of(losing.epoch)?;
        let (told_in, began) =
            last_told(before, write, |epoch| election.quorum.contains_key(&epoch));
        let timing = self.told.holdings.get(&told_in)?.timing?;
        let by = |told: QuorumTold, late: Duration| LossBound {
            max_lag: election.max_lag,
            told: told.flush_lsn.max(began),
            acknowledged_after: Duration::from_nanos(acknowledged.saturating_sub(told.at))
                .saturating_sub(late),
            timing,
        };
        let told = election.quorum.get(&told_in).copied().unwrap_or_default();
        let known = election.known.get(&told_in).copied().unwrap_or_default();
        let forgotten = known.flush_lsn < told.flush_lsn;
        // The lease was renewed again within two thirds of it, and then two figures were being written.
        let late = timing.close_after() + 2 * Duration::from_nanos(self.told.slowest_write);
        Some((by(told, Duration::ZERO), forgotten.then(|| by(known, late))))
    }
}

/// The newest of these epochs whose figures a lost write that all of them have is measured by, and where
/// its line began. A start in place goes on from there, and its holder tells at least as much. A promotion
/// that opened is a line of its own, whose failover may cost the limit again; one that never opened does
/// not make the limit count anew.
fn last_told(
    kept_by: &[&JournalEntry],
    write: &MissingWrite,
    is_told: impl Fn(Epoch) -> bool,
) -> (Epoch, Lsn) {
    let mut newest = (write.written, Lsn::ZERO);
    let mut began = Some(Lsn::ZERO);
    for entry in kept_by {
        if entry.kind == Some(StartKind::Promotion) {
            began = entry.opened.then(|| entry.fork_lsn.unwrap_or_default());
        }
        if let Some(began) = began
            && is_told(entry.epoch)
        {
            newest = (entry.epoch, began);
        }
    }
    newest
}
