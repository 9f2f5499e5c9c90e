//! What was seen in any state of a world, beside the states: part of them, it would only multiply them.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use pgha_core::Epoch;

/// What whoever watches only the primaries can tell of a state: the tick, the newest epoch of the log, how
/// many restarts there were, and of each node which epoch its gate is open for and which epoch's right it has.
pub(crate) type Observation = (u64, Epoch, u8, Vec<(Option<Epoch>, Option<Epoch>)>);

/// What should occur somewhere, or nothing was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    LastEpochHeld,
    Released,
    /// A started or changed voter refused somebody new.
    Waited,
    /// A voter refused for the sake of an earlier promise.
    PromisedToAnother,
    VotersChanged,
    TakenBack,
    LeaseChanged,
}

const FACTS: usize = Fact::LeaseChanged as usize + 1;

#[derive(Debug, Default)]
pub(crate) struct Seen {
    facts: [AtomicBool; FACTS],
    /// Every observation, where somebody asked for them.
    observations: Option<Mutex<BTreeSet<Observation>>>,
}

impl Seen {
    pub(super) fn observing() -> Self {
        Self {
            observations: Some(Mutex::default()),
            ..Self::default()
        }
    }

    pub(super) fn note(&self, fact: Fact) {
        let noted = &self.facts[fact as usize];
        // Loaded first: so the threads can share it.
        if !noted.load(Ordering::Relaxed) {
            noted.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn occurred(&self, fact: Fact) -> bool {
        self.facts[fact as usize].load(Ordering::Relaxed)
    }

    pub(super) fn observe(&self, observation: impl FnOnce() -> Observation) {
        if let Some(observations) = &self.observations {
            observations
                .lock()
                .expect("unpoisoned")
                .insert(observation());
        }
    }

    pub(crate) fn observations(&self) -> BTreeSet<Observation> {
        let all = self.observations.as_ref();
        all.map(|all| all.lock().expect("unpoisoned").clone())
            .unwrap_or_default()
    }
}
