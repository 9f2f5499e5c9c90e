//! What happens at once, because later could only hide a loss.
//!
//! Clients are told as early as they can be: nothing else waits for that, and whoever is told later misses
//! no more. So it is with the opening of a primary. A change is over as early as it can be: whoever may be
//! promoted before that may be promoted after it too.

use std::sync::Arc;

use pgha_core::sync::released_by;

use super::SyncModel;
use super::state::{Change, State};

impl SyncModel {
    pub(super) fn settle(&self, state: &mut State) {
        for index in 0..self.members {
            self.serve(state, index);
        }
        let Some(primary) = state.members[state.primary].serving else {
            return;
        };
        if state.change == Change::UnderWay && self.all_act(state, &primary) {
            state.change = Change::Acted(state.members[state.primary].wal.end());
        }
        if self.is_done(state, &primary) {
            state.in_force = Arc::new(state.in_force.done());
            state.change = Change::None;
            state.from = state.newest;
        }
    }

    fn serve(&self, state: &mut State, index: usize) {
        let wal = state.members[index].wal;
        let Some(mut primary) = state.members[index].serving else {
            return;
        };
        if !primary.opened && self.may_open(&primary) {
            primary.opened = true;
            state.members[index].serving = Some(primary);
            // Commits that waited when the one before ended are seen by everybody from now on. The record
            // of the promotion itself is nobody's.
            state.acknowledge(wal.up_to(primary.begun_at.saturating_sub(1)));
        }
        if !primary.opened {
            return;
        }
        let senders = primary.senders();
        let released = (0..senders.len()).filter_map(|judge| released_by(judge, &senders));
        let released = released.max().map_or(0, |lsn| lsn.0 as usize);
        let waits = primary.backends.count() > 0;
        let told = if waits { released } else { wal.end() };
        if told > primary.begun_at {
            state.acknowledge(wal.up_to(told));
        }
    }
}
