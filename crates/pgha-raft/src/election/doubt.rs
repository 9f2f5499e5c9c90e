//! A store that may be an old copy of itself gives no vote before somebody who would know has spoken: it
//! may have voted in this term already, or have acknowledged an entry that the candidate lacks (Raft
//! paper, 5.2 and 5.4).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pgha_core::Mono;

use crate::clock;
use crate::core::Core;

/// Whether it may be one.
pub(crate) struct Doubt(Mutex<State>);

#[derive(Clone, Copy)]
enum State {
    None,
    /// Nobody has reached this member since it started: its network may not be there yet.
    Unreached,
    /// Somebody reaches it, since then. Those who remember will, too.
    Reached(Mono),
}

impl Doubt {
    pub(crate) const fn new(doubted: bool) -> Self {
        let state = if doubted {
            State::Unreached
        } else {
            State::None
        };
        Self(Mutex::new(state))
    }

    /// Another member's message arrived.
    pub(crate) fn reached(&self) {
        let mut state = self.lock();
        if matches!(*state, State::Unreached) {
            *state = State::Reached(clock::now());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// For how long at least this member gives no vote yet, and does not stand. Once it is reached,
    /// not for ever: the others may remember nothing, or be unable to say it.
    pub(crate) fn withholds_votes(&self, now: Mono) -> Option<Duration> {
        let state = *self.doubt.lock();
        if matches!(state, State::None) {
            return None;
        }
        let server = self.server();
        let mut voters = server.membership_config.membership().voter_ids();
        // Alone there is nobody who would know.
        if voters.all(|id| id == self.my_id()) {
            return None;
        }
        let wait = self.state.borrow().state.settings.start_wait();
        let rest = match state {
            State::None => return None,
            State::Unreached => wait,
            State::Reached(since) => (since + wait).since(now),
        };
        (!rest.is_zero()).then_some(rest)
    }

    /// Somebody who would know speaks of nothing newer than this store.
    pub(crate) fn vouched_for(&self) {
        let before = std::mem::replace(&mut *self.doubt.lock(), State::None);
        if !matches!(before, State::None) {
            self.ear.wake();
        }
    }
}
