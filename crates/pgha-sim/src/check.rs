//! Judges the run: promises after every step, acknowledged writes at every opening, recovery at the
//! end.

use std::mem::Discriminant;

use pgha_core::command::Primary;
use pgha_core::invariant::{self, Violation};
use pgha_core::{ClusterState, Epoch, Generation, Lsn, Phase, TimelineId};

use crate::time::{MS, Nanos};
use crate::world::World;

/// A node that thawed needs this long until its guard has emptied the tree.
const KILL_GRACE: Nanos = 100 * MS;

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A promise was broken.
    #[error("{0}")]
    Promise(Violation),
    /// The cluster was whole, and is not any more, although nothing breaks.
    #[error("not whole any more {seconds} s after everything was mended: {what}")]
    NotWhole {
        /// When.
        seconds: u64,
        /// What is missing.
        what: String,
    },
    /// A raft leader lacks what was committed.
    #[error("{member} leads and has {has} of {committed} committed entries")]
    LogLost {
        /// Who.
        member: String,
        /// So many it has.
        has: usize,
        /// So many were committed.
        committed: usize,
    },
    /// A quorum of a generation that is over (P9).
    #[error("{member} leads generation {generation}, which is over")]
    OldGenerationLeads {
        /// Who.
        member: String,
        /// Which.
        generation: Generation,
    },
    /// A write was acknowledged behind the back of the next primary.
    #[error("{member} acknowledged a write of epoch {epoch} when epoch {opened} was open")]
    LateAcknowledgement {
        /// Who.
        member: String,
        /// The epoch of the session.
        epoch: Epoch,
        /// The newest epoch.
        opened: Epoch,
    },
    /// Somebody never sleeps.
    #[error("spins at one moment: {event}")]
    Spins {
        /// What happens over and over.
        event: String,
    },
    /// Something is done over and over.
    #[error("not quiet although whole: {member} does {action}")]
    NotQuiet {
        /// Who.
        member: String,
        /// What.
        action: String,
    },
}

impl Failure {
    /// Which rule was broken, whoever broke it.
    pub fn rule(&self) -> (Discriminant<Self>, Option<Discriminant<Violation>>) {
        let violation = match self {
            Self::Promise(violation) => Some(std::mem::discriminant(violation)),
            _ => None,
        };
        (std::mem::discriminant(self), violation)
    }
}

/// A write that a client was told to be done.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    /// Its place in the WAL.
    pub index: usize,
    /// Stands for it and all before it.
    pub chain: u64,
    /// Its end.
    pub end: Lsn,
    /// The timeline that it was written on.
    pub timeline: TimelineId,
    /// The epoch that it was acknowledged in.
    pub epoch: Epoch,
    /// By whom.
    pub node: usize,
    /// When.
    pub at: Nanos,
    /// The first epoch without it.
    pub lost_in: Option<Epoch>,
}

impl World {
    /// Ends the run where a promise is broken.
    pub fn check(&mut self, result: Result<(), Violation>) {
        if let Err(violation) = result {
            self.fail(Failure::Promise(violation));
        }
    }

    pub(crate) fn fail(&mut self, failure: Failure) {
        self.trace(None, || format!("FAILED: {failure}"));
        self.failure.get_or_insert(failure);
    }

    /// Time stands still.
    pub fn spins(&mut self, event: &crate::event::Event) {
        let event = format!("{event:?}");
        self.fail(Failure::Spins { event });
    }

    /// After every step.
    pub fn check_step(&mut self) {
        if self.profile.wild_clocks {
            let held = (0..self.nodes.len()).filter(|node| self.held(*node).is_some());
            if held.count() > 1 {
                self.count("two leases by wild clocks");
            }
            return;
        }
        let checked = invariant::one_gate(self.gates());
        self.check(checked);
        for node in 0..self.nodes.len() {
            let Some(epoch) = self.held(node) else {
                continue;
            };
            let name = self.nodes[node].name.clone();
            let checked = invariant::one_promise(&name, epoch, self.gates());
            self.check(checked);
            self.check_trees(node, epoch);
            self.check_leases(node, epoch);
        }
    }

    /// The lease itself, to its end: gates close and trees are emptied long before, so that clocks which
    /// run apart show here first.
    fn check_leases(&mut self, holder: usize, held: Epoch) {
        let earlier = |node: &usize| self.held(*node).is_some_and(|epoch| epoch < held);
        let Some(other) = (0..self.nodes.len()).find(earlier) else {
            return;
        };
        self.check(Err(Violation::TwoPromises {
            holder: self.nodes[holder].name.clone(),
            held,
            other: self.nodes[other].name.clone(),
            does: "holds its lease",
            epoch: self.held(other).unwrap_or_default(),
        }));
    }

    pub(crate) fn held(&self, node: usize) -> Option<Epoch> {
        let n = &self.nodes[node];
        let holder = n.sidecar.as_ref()?.holder.as_ref()?;
        let deadlines = holder.deadlines()?;
        (n.now(self.now) < deadlines.end).then(|| holder.epoch())
    }

    /// Whoever may hold a lease: no tree of an earlier epoch runs, unless it was frozen with its guard.
    fn check_trees(&mut self, holder: usize, held: Epoch) {
        let runs = |node: &usize| {
            let n = &self.nodes[*node];
            let fair = *node != holder && n.up && !n.frozen && n.guard.alive && !n.guard.frozen;
            let thawing = n.thawed > 0 && self.now < n.thawed + KILL_GRACE;
            let epoch = n
                .postgres
                .as_ref()
                .filter(|p| p.ready)
                .and_then(|p| p.epoch);
            let straggler = n
                .straggler
                .is_some_and(|(of, until)| n.up && !n.frozen && of < held && self.now < until);
            straggler || (fair && !thawing && epoch.is_some_and(|epoch| epoch < held))
        };
        let Some(other) = (0..self.nodes.len()).find(runs) else {
            return;
        };
        let n = &self.nodes[other];
        let straggler = n.straggler.map(|(of, _)| of);
        let epoch = n.postgres.as_ref().and_then(|p| p.epoch).or(straggler);
        self.check(Err(Violation::TwoPromises {
            holder: self.nodes[holder].name.clone(),
            held,
            other: self.nodes[other].name.clone(),
            does: "runs its PostgreSQL",
            epoch: epoch.unwrap_or_default(),
        }));
    }

    /// Whether the lease of `epoch` that `node` has has not ended by its clock: past the closing of the
    /// gate a promotion under way may still come to its end.
    pub fn lease_not_ended(&self, node: usize, epoch: Epoch) -> bool {
        self.held(node) == Some(epoch)
    }

    /// P4, when a primary is named.
    pub fn check_election(&mut self, primary: &Primary, before: &ClusterState) {
        let target = match &before.phase {
            Phase::Revoked(revoked) => revoked.target.clone(),
            Phase::Empty | Phase::Bootstrap { .. } | Phase::Primary(_) => None,
        };
        let entry = self.truth.journal.iter().rev();
        let entry = entry.clone().find(|entry| entry.epoch == primary.epoch);
        if let Some(entry) = entry.cloned() {
            let checked = invariant::promoted(&entry, target.as_ref());
            self.check(checked);
            self.order_moves_line(&entry);
        }
    }
}
