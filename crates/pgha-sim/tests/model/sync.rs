//! Synchronous sets that change under load: every mixture of walsenders that have read the change and that
//! have not, of commits, confirmations, lost connections and reports.

use std::sync::Arc;

use pgha_core::Lsn;
use pgha_core::sync::{InForce, Method, SyncReport, SyncSet, Walsender, may_promote, released_by};
use stateright::{Model, Property};

/// The rules that are checked, and naive ones that have to fail.
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
}

type Set = Arc<SyncSet<u8>>;

#[derive(Clone, Debug)]
pub(crate) struct SyncModel {
    pub(crate) name: &'static str,
    pub(crate) rules: Rules,
    /// Whether a set is followed only by one that is a single step away.
    pub(crate) single_steps: bool,
    pub(crate) sets: Vec<Set>,
    pub(crate) standbys: u8,
    pub(crate) changes: u8,
    pub(crate) commits: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    old: Set,
    new: Option<Set>,
    changes_left: u8,
    /// The end of the primary's WAL: one for each commit.
    written: u64,
    /// Up to where clients were told.
    acknowledged: u64,
    standbys: Vec<Standby>,
    /// Whether backends wait goes by this: the checkpointer has read it.
    backends: Set,
    /// The end of WAL when every walsender acted on the new set.
    acted_at: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Standby {
    flushed: u64,
    /// What its walsender has read; none while it is not connected.
    set: Option<Set>,
    /// It has adopted the next epoch and receives nothing any more.
    reported: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Commit,
    Flush(usize),
    /// A walsender hears of what its standby has flushed.
    Confirm(usize),
    Begin(Set),
    Reload(usize),
    ReloadCheckpointer,
    /// Every walsender is seen to act on the new set.
    AllAct,
    Done,
    Disconnect(usize),
    Connect(usize),
    Report(usize),
}

impl SyncModel {
    /// Sets of these standbys with each of these counts, one after the other in single steps.
    pub(crate) fn new(
        name: &'static str,
        standbys: u8,
        counts: &[usize],
        changes: u8,
        commits: u64,
    ) -> Self {
        let mut sets = Vec::new();
        for mask in 1u8..1 << standbys {
            let names: Vec<u8> = (0..standbys).filter(|n| mask & (1 << n) != 0).collect();
            for count in counts.iter().filter(|count| **count <= names.len()) {
                let set = SyncSet::new(names.clone(), *count, Method::Quorum);
                sets.push(Arc::new(set.expect("valid")));
            }
        }
        Self {
            name,
            rules: Rules::Ours,
            single_steps: true,
            sets,
            standbys,
            changes,
            commits,
        }
    }

    /// With changes of several things at once, as at a change of primary.
    pub(crate) fn in_large_steps(self) -> Self {
        Self {
            single_steps: false,
            ..self
        }
    }

    pub(crate) fn by(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    fn in_force(state: &State) -> InForce<u8> {
        match &state.new {
            None => InForce::settled((*state.old).clone()),
            Some(new) => InForce::at_change_of_primary((*state.old).clone(), (**new).clone()),
        }
    }

    fn walsenders<'a>(&self, state: &'a State) -> Vec<Walsender<'a, u8>> {
        const NAMES: &[u8] = &[0, 1, 2, 3];
        let standbys = state.standbys.iter().zip(NAMES);
        let connected = standbys.filter_map(|(one, standby)| {
            Some(Walsender {
                standby,
                set: one.set.as_deref()?,
                flushed: Lsn(one.flushed),
            })
        });
        connected.collect()
    }

    fn released(&self, state: &State, index: usize) -> u64 {
        let walsenders = self.walsenders(state);
        let own = |one: &Walsender<'_, u8>| usize::from(*one.standby) == index;
        let judge = walsenders.iter().position(own);
        let released = judge.and_then(|judge| released_by(judge, &walsenders));
        released.map_or(0, |lsn| lsn.0)
    }

    fn all_act(&self, state: &State) -> bool {
        let newest = state.new.as_ref().unwrap_or(&state.old);
        let told = self.rules == Rules::DoneWhenTold;
        let connected = state.standbys.iter().filter_map(|one| one.set.as_ref());
        let barrier = self.rules == Rules::NoBarrier || state.backends == *newest;
        told || (barrier && connected.into_iter().all(|set| set == newest))
    }

    fn is_done(&self, state: &State) -> bool {
        let Some(at) = state.acted_at else {
            return false;
        };
        match self.rules {
            Rules::DoneWhenTold | Rules::DoneWithoutFlush => true,
            _ => Self::in_force(state).is_done(&self.walsenders(state), Lsn(at)),
        }
    }

    /// Who may be promoted by the reports that there are.
    fn may_promote(&self, state: &State, candidate: usize) -> bool {
        let reported = state
            .standbys
            .iter()
            .enumerate()
            .filter(|(_, one)| one.reported);
        let reports: Vec<_> = reported
            .map(|(index, one)| SyncReport {
                member: index as u8,
                end: Lsn(one.flushed),
                former_primary: false,
            })
            .collect();
        let by =
            |in_force: &InForce<u8>| may_promote(in_force, &reports, &(candidate as u8)).is_ok();
        let of = |set: &Set| by(&InForce::settled((**set).clone()));
        match (self.rules, &state.new) {
            (Rules::EnoughOfBothSets, Some(new)) => of(&state.old) && of(new),
            (Rules::NewSetOnly, Some(new)) => of(new),
            _ => by(&Self::in_force(state)),
        }
    }

    fn follows(&self, state: &State, set: &Set) -> bool {
        *set != state.old && (!self.single_steps || set.is_one_step_from(&state.old))
    }
}

impl Model for SyncModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let state = |set: &Set| State {
            old: Arc::clone(set),
            new: None,
            changes_left: self.changes,
            written: 0,
            acknowledged: 0,
            standbys: (0..self.standbys)
                .map(|_| Standby {
                    flushed: 0,
                    set: Some(Arc::clone(set)),
                    reported: false,
                })
                .collect(),
            backends: Arc::clone(set),
            acted_at: None,
        };
        self.sets.iter().map(state).collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.written < self.commits {
            actions.push(Action::Commit);
        }
        match &state.new {
            None if state.changes_left > 0 => {
                let next = self.sets.iter().filter(|set| self.follows(state, set));
                actions.extend(next.cloned().map(Action::Begin));
            }
            None => {}
            Some(new) => {
                if state.backends != *new {
                    actions.push(Action::ReloadCheckpointer);
                }
                if state.acted_at.is_none() && self.all_act(state) {
                    actions.push(Action::AllAct);
                }
                if self.is_done(state) {
                    actions.push(Action::Done);
                }
            }
        }
        let newest = state.new.as_ref().unwrap_or(&state.old);
        for (index, one) in state.standbys.iter().enumerate() {
            match &one.set {
                Some(set) => {
                    if one.flushed < state.written {
                        actions.push(Action::Flush(index));
                    }
                    if self.released(state, index) > state.acknowledged {
                        actions.push(Action::Confirm(index));
                    }
                    if set != newest {
                        actions.push(Action::Reload(index));
                    }
                    actions.push(Action::Disconnect(index));
                }
                None if !one.reported => actions.push(Action::Connect(index)),
                None => {}
            }
            if !one.reported {
                actions.push(Action::Report(index));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let newest = Arc::clone(state.new.as_ref().unwrap_or(&state.old));
        match action {
            Action::Commit => {
                state.written += 1;
                if state.backends.count() == 0 {
                    state.acknowledged = state.written;
                }
            }
            Action::Flush(index) => state.standbys[index].flushed += 1,
            Action::Confirm(index) => state.acknowledged = self.released(&state, index),
            Action::Begin(set) => {
                if self.single_steps {
                    Self::in_force(&state).begin((*set).clone()).ok()?;
                }
                state.new = Some(set);
                state.changes_left -= 1;
            }
            Action::Reload(index) => state.standbys[index].set = Some(newest),
            Action::ReloadCheckpointer => {
                // Where backends wait for nobody any more, those who waited are let go.
                if newest.count() == 0 {
                    state.acknowledged = state.written;
                }
                state.backends = newest;
            }
            Action::AllAct => state.acted_at = Some(state.written),
            Action::Done => {
                state.old = newest;
                state.new = None;
                state.acted_at = None;
            }
            Action::Disconnect(index) => state.standbys[index].set = None,
            Action::Connect(index) => state.standbys[index].set = Some(newest),
            Action::Report(index) => {
                state.standbys[index].set = None;
                state.standbys[index].reported = true;
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "P2 no lost acknowledged write",
                |model: &Self, state: &State| {
                    let kept = |index: usize| {
                        state.standbys[index].flushed >= state.acknowledged
                            || !model.may_promote(state, index)
                    };
                    (0..state.standbys.len()).all(kept)
                },
            ),
            Property::sometimes(
                "an acknowledged write is promoted after a change",
                |model: &Self, state: &State| {
                    let changed = state.changes_left < model.changes && state.new.is_none();
                    let one = |index| model.may_promote(state, index);
                    changed && state.acknowledged > 0 && (0..state.standbys.len()).any(one)
                },
            ),
        ]
    }
}
