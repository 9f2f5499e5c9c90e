//! Synchronous sets that change under load, and primaries that are lost meanwhile: every mixture of
//! walsenders that have read the change and that have not, of commits, confirmations, lost connections,
//! reports, promotions by them, and primaries of the past that nobody has fenced yet.

mod acts;
mod properties;
mod rules;
mod set;
mod settle;
mod state;
#[cfg(test)]
mod tests;

use pgha_core::sync::Method;
use stateright::{Model, Property};

use acts::Action;
pub(crate) use rules::Rules;
use set::Set;
use state::State;

#[derive(Clone, Debug)]
pub(crate) struct SyncModel {
    pub(crate) name: &'static str,
    rules: Rules,
    /// Whether a set is followed only by one that is a single step away.
    single_steps: bool,
    /// Whether connections are lost. By quorum that shows nothing: a standby that is not connected is
    /// like one that is, and flushes nothing more. By priority the next on the list is chosen.
    loses_connections: bool,
    /// Whether a set may list the primary that goes by it, which never confirms anything.
    lists_primary: bool,
    sets: Vec<Set>,
    members: usize,
    counts: Vec<usize>,
    changes: u8,
    commits: u8,
    /// So many are carried out; of one more it is only judged who may be promoted.
    promotions: u8,
}

impl SyncModel {
    /// A primary and these standbys, by quorum with each of these counts, one set after the other in
    /// single steps.
    pub(crate) fn new(
        name: &'static str,
        standbys: u8,
        counts: &[usize],
        changes: u8,
        commits: u8,
    ) -> Self {
        let model = Self {
            name,
            rules: Rules::Ours,
            single_steps: true,
            loses_connections: false,
            lists_primary: false,
            sets: Vec::new(),
            members: usize::from(standbys) + 1,
            counts: counts.to_vec(),
            changes,
            commits,
            promotions: 0,
        };
        model.by_methods(&[Method::Quorum])
    }

    /// The sets of these methods, each of them in every order that means something.
    fn by_methods(self, methods: &[Method]) -> Self {
        let fits = |set: &Set| {
            self.counts.contains(&set.count())
                && methods.contains(&set.method())
                && set
                    .names()
                    .iter()
                    .all(|name| usize::from(*name) < self.members)
        };
        Self {
            sets: Set::all().filter(fits).collect(),
            loses_connections: methods.contains(&Method::Priority),
            ..self
        }
    }

    /// With changes of several things at once, as at a change of primary.
    pub(crate) fn in_large_steps(self) -> Self {
        Self {
            single_steps: false,
            ..self
        }
    }

    fn promoting(self, promotions: u8) -> Self {
        Self { promotions, ..self }
    }

    fn listing_the_primary(self) -> Self {
        Self {
            lists_primary: true,
            ..self
        }
    }

    /// Whether a primary may go by this set.
    fn suits(&self, set: Set, primary: usize) -> bool {
        self.lists_primary || !set.lists(&(primary as u8))
    }

    pub(crate) fn by(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }
}

impl Model for SyncModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let fits = self.sets.iter().filter(|set| self.suits(**set, 0));
        let state = |set: &Set| {
            let mut state = State::first(self.members, *set, self.changes, self.commits);
            self.settle(&mut state);
            state
        };
        fits.map(state).collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.possible(state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.act(&mut state, action)?;
        self.settle(&mut state);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        self.all_properties()
    }
}
