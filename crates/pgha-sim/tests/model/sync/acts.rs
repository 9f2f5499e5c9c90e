//! What can happen next, and what it does.

use std::sync::Arc;

use super::set::Set;
use super::state::{Change, State};
use super::{Rules, SyncModel};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// A client of this primary writes.
    Commit(usize),
    Flush(usize),
    Begin(Set),
    /// Of this primary, the walsender of this standby reads the newest set.
    Reload(usize, usize),
    ReloadCheckpointer(usize),
    /// Of this primary, the walsender of this standby ends.
    Disconnect(usize, usize),
    /// It receives from the primary of the newest epoch, by a walsender that has read this set.
    Connect(usize, Set),
    /// It is fenced or receives nothing any more, and reports.
    Report(usize),
    Promote(usize, Set),
}

impl SyncModel {
    pub(super) fn possible(&self, state: &State, actions: &mut Vec<Action>) {
        self.begins(state, actions);
        for index in 0..self.members {
            self.of_primary(state, index, actions);
            self.of_member(state, index, actions);
        }
        if state.epoch <= self.promotions {
            for index in self.electable(state) {
                let sets = self.sets.iter().filter(|set| self.suits(**set, index));
                actions.extend(sets.map(|set| Action::Promote(index, *set)));
            }
        }
    }

    fn begins(&self, state: &State, actions: &mut Vec<Action>) {
        let serves = state.members[state.primary].serving.is_some();
        if serves && state.changes_left > 0 && state.change == Change::None {
            let follows = |set: &&Set| {
                **set != state.newest
                    && self.suits(**set, state.primary)
                    && (!self.single_steps || set.is_one_step_from(&state.newest))
            };
            let sets = self.sets.iter().filter(follows);
            actions.extend(sets.map(|set| Action::Begin(*set)));
        }
    }

    fn of_primary(&self, state: &State, index: usize, actions: &mut Vec<Action>) {
        let Some(primary) = &state.members[index].serving else {
            return;
        };
        if primary.opened && state.commits_left > 0 {
            actions.push(Action::Commit(index));
        }
        if primary.backends != primary.told {
            actions.push(Action::ReloadCheckpointer(index));
        }
        for (standby, sender) in primary.senders.iter().enumerate() {
            let Some(sender) = sender else {
                continue;
            };
            if sender.set != primary.told {
                actions.push(Action::Reload(index, standby));
            }
            if self.loses_connections {
                actions.push(Action::Disconnect(index, standby));
            }
        }
    }

    fn of_member(&self, state: &State, index: usize, actions: &mut Vec<Action>) {
        let member = &state.members[index];
        if member.reported {
            return;
        }
        if let Some(upstream) = member.follows
            && member.wal.end() < state.members[upstream].wal.end()
        {
            actions.push(Action::Flush(index));
        }
        let primary = &state.members[state.primary];
        // Who has left the line has nothing to say.
        if member.wal.is_within(&primary.wal) {
            actions.push(Action::Report(index));
        }
        if let Some(serving) = &primary.serving
            && index != state.primary
            && member.follows != Some(state.primary)
        {
            actions.push(Action::Connect(index, serving.told));
            // The postmaster hears of a set before the checkpointer does, and walsenders are its children.
            if serving.backends != serving.told {
                actions.push(Action::Connect(index, serving.backends));
            }
        }
    }

    pub(super) fn act(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::Commit(index) => {
                let member = &mut state.members[index];
                member.wal.write(member.serving.as_ref()?.epoch);
                state.commits_left -= 1;
            }
            Action::Flush(index) => {
                let upstream = state.members[index].follows?;
                let line = state.members[upstream].wal;
                let member = &mut state.members[index];
                let end = member.wal.end() + 1;
                member.wal = line.up_to(end);
                let primary = state.members[upstream].serving.as_mut()?;
                primary.senders[index].as_mut()?.flushed = end;
            }
            Action::Begin(set) => {
                let next = if self.single_steps {
                    state.in_force.begin((*set).clone()).ok()?
                } else {
                    state.in_force.at_change_of_primary((*set).clone())
                };
                state.in_force = Arc::new(next);
                state.change = Change::UnderWay;
                (state.from, state.newest) = (state.newest, set);
                state.changes_left -= 1;
                state.members[state.primary].serving.as_mut()?.told = set;
            }
            Action::Reload(index, standby) => {
                let primary = state.members[index].serving.as_mut()?;
                primary.senders[standby].as_mut()?.set = primary.told;
            }
            Action::ReloadCheckpointer(index) => {
                let primary = state.members[index].serving.as_mut()?;
                primary.backends = primary.told;
            }
            Action::Disconnect(index, standby) => {
                state.members[index].serving.as_mut()?.senders[standby] = None;
                let standby = &mut state.members[standby];
                standby.follows = standby.follows.filter(|upstream| *upstream != index);
            }
            Action::Connect(index, set) => state.connect(index, set),
            Action::Report(index) => {
                state.stop(index);
                state.members[index].follows = None;
                state.members[index].reported = true;
            }
            Action::Promote(index, set) => self.promote(state, index, set),
        }
        Some(())
    }

    fn promote(&self, state: &mut State, index: usize, set: Set) {
        state.members[state.primary].was_primary = self.rules == Rules::EveryFormerPrimary;
        state.epoch += 1;
        state.members[index].wal.write(state.epoch);
        state.members[index].was_primary = false;
        state.serve(index, set);
        for member in &mut state.members {
            member.reported = false;
        }
        self.at_change_of_primary(state, set);
    }
}
