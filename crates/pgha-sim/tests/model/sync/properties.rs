//! What is promised, and what has to occur or nothing was checked.

use stateright::Property;

use super::SyncModel;
use super::acts::Action;
use super::state::{Change, State};

/// Nobody who was told of a write misses it in a primary that has opened, or would in one of those who
/// may be promoted now.
fn none_lost(model: &SyncModel, state: &State) -> bool {
    let serving = &state.members[state.primary].serving;
    let opened = serving.as_ref().is_some_and(|primary| primary.opened);
    (!opened || state.is_complete(state.primary))
        && model
            .electable(state)
            .iter()
            .all(|index| state.is_complete(*index))
}

fn promoted_after_a_change(model: &SyncModel, state: &State) -> bool {
    let changed = state.changes_left < model.changes && state.change == Change::None;
    changed && state.some_acknowledged() && !model.electable(state).is_empty()
}

fn acknowledged_by_a_mixture(model: &SyncModel, state: &State) -> bool {
    let flushed = |index: usize| {
        let member = &state.members[index];
        let primary = state.members[member.follows?].serving.as_ref()?;
        let waits = member.wal.end() < state.members[member.follows?].wal.end();
        if !primary.is_mixed() || !waits {
            return None;
        }
        let mut next = state.clone();
        model.act(&mut next, Action::Flush(index))?;
        model.settle(&mut next);
        let line = next.members[index].wal;
        Some(next.has_acknowledged(&line) && !state.has_acknowledged(&line))
    };
    (0..model.members).any(|index| flushed(index) == Some(true))
}

fn last_epoch_opened(model: &SyncModel, state: &State) -> bool {
    let serving = &state.members[state.primary].serving;
    let opened = serving.as_ref().is_some_and(|primary| primary.opened);
    opened && state.epoch == 1 + model.promotions
}

/// Too few others have reported, and its report stands for them.
fn fenced_primary_counts(model: &SyncModel, state: &State) -> bool {
    let may = model.electable(state);
    let mut without = state.clone();
    without.members[state.primary].reported = false;
    let others = may.iter().any(|index| *index != state.primary);
    others && model.electable(&without).is_empty()
}

fn starts_again_in_place(model: &SyncModel, state: &State) -> bool {
    model.electable(state).contains(&state.primary) && state.epoch <= model.promotions
}

impl SyncModel {
    pub(super) fn all_properties(&self) -> Vec<Property<Self>> {
        let mut all = vec![Property::always("P2 no lost acknowledged write", none_lost)];
        if self.changes > 0 {
            let name = "an acknowledged write is promoted after a change";
            all.push(Property::sometimes(name, promoted_after_a_change));
        }
        if self.promotions == 0 {
            return all;
        }
        if self.changes > 0 {
            let name = "a write is acknowledged by walsenders of different sets";
            all.push(Property::sometimes(name, acknowledged_by_a_mixture));
        }
        let name = "the primary of the last epoch opens";
        all.push(Property::sometimes(name, last_epoch_opened));
        let name = "the fenced primary's report stands for others";
        all.push(Property::sometimes(name, fenced_primary_counts));
        let name = "a primary starts again in place";
        all.push(Property::sometimes(name, starts_again_in_place));
        all
    }
}
