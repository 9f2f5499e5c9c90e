//! What members have and do.

use std::sync::Arc;

use pgha_core::Lsn;
use pgha_core::sync::{InForce, Walsender};

use super::set::{MOST_MEMBERS, NAMES, Set};

const LONGEST: usize = 6;
const MOST_EPOCHS: usize = 4;

/// Of each record the epoch whose primary wrote it, and zero behind the end. An epoch has one primary, so
/// two logs that say the same of a place are equal up to there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Wal([u8; LONGEST]);

impl Wal {
    pub(super) fn end(&self) -> usize {
        self.0.iter().take_while(|epoch| **epoch > 0).count()
    }

    pub(super) fn write(&mut self, epoch: u8) {
        self.0[self.end()] = epoch;
    }

    pub(super) fn up_to(&self, end: usize) -> Self {
        let mut kept = *self;
        kept.0[end..].fill(0);
        kept
    }

    /// Up to where both are the same.
    pub(super) fn fork(&self, other: &Self) -> usize {
        let pairs = self.0.iter().zip(&other.0);
        pairs.take_while(|(a, b)| a == b && **a > 0).count()
    }

    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.fork(other) == self.end()
    }
}

/// One walsender of a primary. It may outlive its connection; then it hears no more of its standby.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sender {
    /// What it has read.
    pub(super) set: Set,
    pub(super) flushed: usize,
}

/// A PostgreSQL that runs as primary, perhaps as one of the past that nobody has fenced yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Serving {
    pub(super) epoch: u8,
    /// The end of its WAL when it was promoted or started.
    pub(super) begun_at: usize,
    pub(super) opened: bool,
    /// The newest set of its epoch.
    pub(super) told: Set,
    /// Whether backends wait goes by this: the checkpointer has read it.
    pub(super) backends: Set,
    pub(super) senders: [Option<Sender>; MOST_MEMBERS],
}

impl Serving {
    pub(super) fn senders(&self) -> Vec<Walsender<'_, u8>> {
        let all = self.senders.iter().zip(&NAMES);
        let running = all.filter_map(|(sender, standby)| {
            let sender = sender.as_ref()?;
            Some(Walsender {
                standby,
                set: &sender.set,
                flushed: Lsn(sender.flushed as u64),
            })
        });
        running.collect()
    }

    pub(super) fn is_mixed(&self) -> bool {
        let mut sets = self.senders.iter().flatten().map(|sender| sender.set);
        let first = sets.next();
        sets.any(|set| Some(set) != first)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Member {
    /// What it has on disk.
    pub(super) wal: Wal,
    pub(super) serving: Option<Serving>,
    /// From whom it receives.
    pub(super) follows: Option<usize>,
    /// It has adopted the next epoch, serves no more and receives nothing more.
    pub(super) reported: bool,
    /// Only for a naive rule, as it would double the states.
    pub(super) was_primary: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Change {
    None,
    UnderWay,
    /// Every walsender was seen to act on the newest set, and then the WAL ended here.
    Acted(usize),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(super) members: [Member; MOST_MEMBERS],
    pub(super) epoch: u8,
    /// Of this epoch, whether it still runs or not.
    pub(super) primary: usize,
    pub(super) in_force: Arc<InForce<u8>>,
    pub(super) change: Change,
    /// For the naive rules: the last change was from this set
    pub(super) from: Set,
    /// to this one.
    pub(super) newest: Set,
    pub(super) changes_left: u8,
    pub(super) commits_left: u8,
    /// The lines of which clients were told, without those that others contain.
    acknowledged: [Wal; MOST_EPOCHS],
}

impl State {
    pub(super) fn first(members: usize, set: Set, changes: u8, commits: u8) -> Self {
        let mut state = Self {
            members: Default::default(),
            epoch: 1,
            primary: 0,
            in_force: Arc::new(InForce::settled((*set).clone())),
            change: Change::None,
            from: set,
            newest: set,
            changes_left: changes,
            commits_left: commits,
            acknowledged: Default::default(),
        };
        state.serve(0, set);
        for standby in 1..members {
            state.connect(standby, set);
        }
        state
    }

    /// The member of the newest epoch begins to run as its primary.
    pub(super) fn serve(&mut self, index: usize, set: Set) {
        self.primary = index;
        let member = &mut self.members[index];
        member.serving = Some(Serving {
            epoch: self.epoch,
            begun_at: member.wal.end(),
            opened: false,
            told: set,
            backends: set,
            senders: Default::default(),
        });
    }

    /// It gives up what is not on the primary's line, and receives from there.
    pub(super) fn connect(&mut self, standby: usize, set: Set) {
        self.stop(standby);
        let line = self.members[self.primary].wal;
        let member = &mut self.members[standby];
        member.wal = line.up_to(member.wal.fork(&line));
        member.follows = Some(self.primary);
        let flushed = member.wal.end();
        let primary = self.members[self.primary].serving.as_mut();
        let primary = primary.expect("only a primary that runs is followed");
        primary.senders[standby] = Some(Sender { set, flushed });
    }

    /// Its process tree is empty.
    pub(super) fn stop(&mut self, index: usize) {
        if self.members[index].serving.take().is_some() {
            let left = self.members.iter_mut();
            left.filter(|member| member.follows == Some(index))
                .for_each(|member| member.follows = None);
        }
    }

    pub(super) fn acknowledge(&mut self, told: Wal) {
        if self.has_acknowledged(&told) {
            return;
        }
        let known = self.acknowledged.iter_mut();
        known
            .filter(|known| known.is_within(&told))
            .for_each(|known| *known = Wal::default());
        // The empty ones come first.
        self.acknowledged.sort_unstable();
        self.acknowledged[0] = told;
        self.acknowledged.sort_unstable();
    }

    pub(super) fn has_acknowledged(&self, line: &Wal) -> bool {
        self.acknowledged.iter().any(|told| line.is_within(told))
    }

    pub(super) fn some_acknowledged(&self) -> bool {
        self.acknowledged.iter().any(|told| told.end() > 0)
    }

    /// Whether this member has all that any client was told of.
    pub(super) fn is_complete(&self, index: usize) -> bool {
        let wal = &self.members[index].wal;
        self.acknowledged.iter().all(|told| told.is_within(wal))
    }
}
