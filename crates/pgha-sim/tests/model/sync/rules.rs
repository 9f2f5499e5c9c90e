//! The rules that are checked, and naive ones that have to fail.

use std::sync::Arc;

use pgha_core::Lsn;
use pgha_core::sync::{InForce, SyncReport, may_promote};

use super::SyncModel;
use super::set::Set;
use super::state::{Change, Serving, State};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    /// Those of `pgha-core`.
    Ours,
    /// Enough reports of each of the two sets.
    EnoughOfBothSets,
    /// Enough reports of the new set.
    NewSetOnly,
    /// A change is done when PostgreSQL was told.
    DoneWhenTold,
    /// A change is done when every walsender acts on it, whatever the standbys have.
    DoneWithoutFlush,
    /// Leaving `async` is done when every walsender acts on it, whether backends wait or not.
    NoBarrier,
    /// From its promotion on a new primary's own set is the only one.
    NewPrimaryAlone,
    /// At a change of primary only the newest of the sets before is kept.
    UnfinishedStepForgotten,
    /// A new primary opens before anybody has its promotion point.
    OpensAtOnce,
    /// Where the fenced primary has reported, anybody who has may be promoted.
    FencedPrimaryIsEnough,
    /// Whoever was a primary once counts as the fenced one.
    EveryFormerPrimary,
}

impl SyncModel {
    /// Whom the reports that there are allow to be promoted.
    pub(super) fn electable(&self, state: &State) -> Vec<usize> {
        if !state.members.iter().any(|member| member.reported) {
            return Vec::new();
        }
        let members = || state.members[..self.members].iter().enumerate();
        let reported = || members().filter(|(_, one)| one.reported);
        let reports: Vec<_> = reported()
            .map(|(index, one)| SyncReport {
                member: index as u8,
                end: Lsn(one.wal.end() as u64),
                former_primary: index == state.primary || one.was_primary,
            })
            .collect();
        let fenced = reports.iter().any(|report| report.former_primary);
        let by = |in_force: &InForce<u8>, candidate: usize| {
            may_promote(in_force, &reports, &(candidate as u8)).is_ok()
        };
        let settled = |set: Set| InForce::settled((*set).clone());
        let may = |candidate: &usize| match self.rules {
            Rules::EnoughOfBothSets => {
                by(&settled(state.from), *candidate) && by(&settled(state.newest), *candidate)
            }
            Rules::NewSetOnly => by(&settled(state.newest), *candidate),
            Rules::FencedPrimaryIsEnough if fenced => true,
            _ => by(&state.in_force, *candidate),
        };
        reported().map(|(index, _)| index).filter(may).collect()
    }

    pub(super) fn at_change_of_primary(&self, state: &mut State, to: Set) {
        let settled = |set: Set| InForce::settled((*set).clone());
        let in_force = match self.rules {
            Rules::NewPrimaryAlone => settled(to),
            Rules::UnfinishedStepForgotten => {
                settled(state.newest).at_change_of_primary((*to).clone())
            }
            _ => state.in_force.at_change_of_primary((*to).clone()),
        };
        state.in_force = Arc::new(in_force);
        (state.from, state.newest) = (state.newest, to);
        state.change = Change::UnderWay;
    }

    pub(super) fn may_open(&self, primary: &Serving) -> bool {
        let has = |index: &usize| {
            let sender = primary.senders[*index];
            sender.is_some_and(|sender| sender.flushed >= primary.begun_at)
        };
        let listed = primary.told.names().iter().map(|name| usize::from(*name));
        self.rules == Rules::OpensAtOnce || listed.filter(has).count() >= primary.told.count()
    }

    pub(super) fn all_act(&self, state: &State, primary: &Serving) -> bool {
        let newest = state.newest;
        let told = self.rules == Rules::DoneWhenTold;
        let barrier = self.rules == Rules::NoBarrier || primary.backends == newest;
        let mut senders = primary.senders.iter().flatten();
        told || (barrier && senders.all(|sender| sender.set == newest))
    }

    pub(super) fn is_done(&self, state: &State, primary: &Serving) -> bool {
        let Change::Acted(at) = state.change else {
            return false;
        };
        match self.rules {
            Rules::DoneWhenTold | Rules::DoneWithoutFlush => true,
            _ => state.in_force.is_done(&primary.senders(), Lsn(at as u64)),
        }
    }
}
