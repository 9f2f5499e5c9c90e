//! How large a world is, and by which rules it goes.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::rules::Rules;

use super::knows::Tables;
use super::seen::Seen;

/// Half a promise of the default lease: a promise lapses after exactly two, just after the right ended.
pub(crate) const HALF: Duration = Duration::from_micros(750_750);

/// A whole promise: what was promised a tick ago has lapsed, and no right of then is left.
pub(crate) const WHOLE: Duration = Duration::from_micros(1_501_500);

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Each at any time, in any order, or never; a holder sends so many times in an epoch.
    Late {
        /// How many times.
        sends: u8,
    },
    /// At once or never, as far as nothing is lost by it (see [`super::reduce`]); a holder sends with
    /// every tick.
    Prompt,
}

/// A world.
#[derive(Clone, Debug)]
pub(crate) struct LeaseModel {
    pub(crate) name: &'static str,
    pub(crate) rules: Rules,
    pub(crate) delivery: Delivery,
    pub(crate) tick: Duration,
    /// How many; without end where there is no number: then nobody can tell how late it is, and states
    /// that differ only in that are one.
    pub(crate) ticks: Option<u64>,
    pub(crate) nodes: usize,
    /// Who may be named primary.
    pub(crate) may_lead: &'static [usize],
    pub(crate) epochs: u64,
    pub(crate) restarts: u8,
    /// How many changes of the membership there may be: to the joint one, and to the one after it.
    pub(crate) changes: u64,
    /// The voters before that, and after it.
    pub(crate) voters: [&'static [u64]; 2],
    /// Who runs for long before it is taken in, so that its lease threads know of no membership. Its store
    /// has what it needs to have at any moment, and they may find several at one look.
    pub(crate) taken_in_late: &'static [usize],
    /// Which nodes may have stored the joint one long before the rest: a bit for each, in each of these.
    pub(crate) stored_early: &'static [u64],
    /// Whether one that is not committed may be taken back.
    pub(crate) takes_back: bool,
    /// Whether a holder may stop and release its epoch.
    pub(crate) stops: bool,
    /// What `lease_ms` is at first, and what it is set to after that, in this order.
    pub(crate) lease_ms: &'static [u64],
    /// How many of these changes were committed before the first primary was named; who starts again may
    /// not have read them.
    pub(crate) lease_changed: usize,
    /// What has happened in any of its states.
    pub(crate) seen: Arc<Seen>,
    pub(super) tables: OnceLock<Tables>,
}

impl LeaseModel {
    /// Two epochs and one restart of three voters.
    pub(crate) fn small(name: &'static str) -> Self {
        Self {
            name,
            rules: Rules::Ours,
            delivery: Delivery::Prompt,
            tick: HALF,
            ticks: Some(3),
            nodes: 3,
            may_lead: &[0, 1],
            epochs: 2,
            restarts: 1,
            changes: 0,
            voters: [&[0, 1, 2], &[0, 1, 3]],
            taken_in_late: &[],
            stored_early: &[0],
            takes_back: false,
            stops: true,
            lease_ms: &[1500],
            lease_changed: 0,
            seen: Arc::default(),
            tables: OnceLock::new(),
        }
    }

    /// The same without the restart.
    pub(crate) fn without_restarts(name: &'static str) -> Self {
        Self {
            restarts: 0,
            ticks: Some(4),
            ..Self::small(name)
        }
    }

    /// The same with messages that arrive late.
    pub(crate) fn late(name: &'static str) -> Self {
        Self {
            delivery: Delivery::Late { sends: 1 },
            ..Self::small(name)
        }
    }

    /// And without the restart.
    pub(crate) fn late_without_restarts(name: &'static str) -> Self {
        Self {
            restarts: 0,
            ..Self::late(name)
        }
    }

    /// Three epochs and two restarts of three voters.
    pub(crate) fn large(name: &'static str) -> Self {
        Self {
            tick: HALF,
            ticks: None,
            may_lead: &[0, 1, 2],
            epochs: 3,
            restarts: 2,
            ..Self::small(name)
        }
    }

    /// 3 takes the place of 2, by a joint membership, faster than any promise lapses.
    pub(crate) fn voters_change(name: &'static str) -> Self {
        Self {
            tick: WHOLE,
            ticks: Some(0),
            nodes: 4,
            may_lead: &[1, 3],
            restarts: 0,
            changes: 2,
            ..Self::small(name)
        }
    }

    /// The same, and 3 is taken in between two looks of its lease threads.
    pub(crate) fn taken_in_late(name: &'static str) -> Self {
        Self {
            taken_in_late: &[3],
            may_lead: &[1],
            ..Self::voters_change(name)
        }
    }

    /// One voter becomes three, and those two are taken in between two looks of their lease threads.
    pub(crate) fn two_taken_in_late(name: &'static str) -> Self {
        Self {
            nodes: 3,
            voters: [&[0], &[0, 1, 2]],
            taken_in_late: &[1, 2],
            ..Self::taken_in_late(name)
        }
    }

    /// The same while promises lapse, and one process is started anew.
    pub(crate) fn two_taken_in_late_and_restart(name: &'static str) -> Self {
        Self {
            ticks: None,
            may_lead: &[1, 2],
            restarts: 1,
            ..Self::two_taken_in_late(name)
        }
    }

    /// 3 takes the place of 2 as far as the joint membership, which may be taken back where it is not committed.
    pub(crate) fn voters_change_back(name: &'static str) -> Self {
        Self {
            may_lead: &[1],
            changes: 1,
            takes_back: true,
            ..Self::voters_change(name)
        }
    }

    /// As far as the joint membership, while promises lapse.
    pub(crate) fn voters_change_slowly(name: &'static str) -> Self {
        Self {
            ticks: None,
            may_lead: &[1],
            changes: 1,
            stops: false,
            ..Self::voters_change(name)
        }
    }

    /// Both steps, faster than any promise lapses, and whoever stored the joint one early waits no more.
    pub(crate) fn stored_early(name: &'static str) -> Self {
        Self {
            stored_early: &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
            may_lead: &[1],
            stops: false,
            ..Self::voters_change(name)
        }
    }

    /// The same with an epoch more: who is named in two of them is one process.
    pub(crate) fn stored_early_and_named_again(name: &'static str) -> Self {
        Self {
            epochs: 3,
            stored_early: &[0b1010],
            ..Self::stored_early(name)
        }
    }

    /// Both steps, while promises lapse.
    pub(crate) fn voters_change_in_both_steps(name: &'static str) -> Self {
        Self {
            changes: 2,
            ticks: Some(1),
            ..Self::voters_change_slowly(name)
        }
    }

    /// As far as the joint membership, while promises lapse and one process is started anew.
    pub(crate) fn voters_change_and_restart(name: &'static str) -> Self {
        Self {
            restarts: 1,
            ..Self::voters_change_slowly(name)
        }
    }

    /// `lease_ms` was doubled.
    pub(crate) fn lease_grew(name: &'static str) -> Self {
        Self {
            tick: WHOLE,
            ticks: None,
            lease_ms: &[1500, 3000],
            lease_changed: 1,
            ..Self::small(name)
        }
    }

    /// `lease_ms` was doubled, and is set back.
    pub(crate) fn lease_shrinks(name: &'static str) -> Self {
        Self {
            lease_ms: &[1500, 3000, 1500],
            ..Self::lease_grew(name)
        }
    }

    /// With this one alone to be named.
    pub(crate) fn naming(self, may_lead: &'static [usize]) -> Self {
        Self { may_lead, ..self }
    }

    pub(crate) fn by(self, rules: Rules) -> Self {
        Self {
            rules,
            seen: Arc::default(),
            tables: OnceLock::new(),
            ..self
        }
    }

    /// Keeps what can be seen of each state.
    pub(crate) fn observed(self) -> Self {
        Self {
            seen: Arc::new(Seen::observing()),
            ..self
        }
    }

    pub(crate) fn voters_may_change(&self) -> bool {
        self.changes > 0
    }

    pub(crate) fn is_late(&self) -> bool {
        matches!(self.delivery, Delivery::Late { .. })
    }

    /// How often a holder may send, where that is limited.
    pub(crate) fn sends(&self) -> u8 {
        match self.delivery {
            Delivery::Late { sends } => sends,
            Delivery::Prompt => 0,
        }
    }
}
