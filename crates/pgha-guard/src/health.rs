//! Whether a guard that should say that it lives still does.

use std::time::Duration;

use pgha_core::Mono;

/// A guard that misses its stamp for this part of the lease is treated as dead.
const SILENT_LEASES: u32 = 3;
/// In the lease: between the look that finds no stamp and the one that believes it. With the part above it
/// is half of the lease; the gate closes by its own clock at two thirds.
const SECOND_LOOK_LEASES: u32 = 6;

/// What the sidecar has to think of its guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It has said in time that it lives, or it runs nothing under a deadline.
    Alive,
    /// It has not; it is to be looked at again then.
    Doubtful {
        /// When.
        look_at: Mono,
    },
    /// It is frozen or cannot run: to be killed, with its tree.
    Stalled {
        /// How long it has said nothing.
        silent: Duration,
    },
}

/// Remembers the first doubt.
///
/// After a pause of the whole machine (a hypervisor's, or a frozen node that is continued) the
/// sidecar may run before its guard does, and what it sees is a guard that has stood still. The
/// second look gives the guard time to run: a pause that the lease survives must not end PostgreSQL.
#[derive(Debug, Default)]
pub(crate) struct Doubt {
    since: Option<Mono>,
}

impl Doubt {
    /// Judges a guard that said last at `last` that it lives.
    pub(crate) fn judge(&mut self, last: Mono, lease: Duration, now: Mono) -> Health {
        let silent = now.since(last);
        if silent <= lease / SILENT_LEASES {
            self.since = None;
            return Health::Alive;
        }
        let look_at = *self.since.get_or_insert(now) + lease / SECOND_LOOK_LEASES;
        if now < look_at {
            Health::Doubtful { look_at }
        } else {
            Health::Stalled { silent }
        }
    }

    /// Nothing depends on the guard any more.
    pub(crate) fn clear(&mut self) {
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_millis(1500);

    const fn at(ms: u64) -> Mono {
        Mono::from_millis(ms)
    }

    #[test]
    fn silence_for_a_third_of_the_lease_is_believed_at_the_second_look() {
        let mut doubt = Doubt::default();
        assert_eq!(doubt.judge(at(1000), LEASE, at(1500)), Health::Alive);
        let look_at = at(1751);
        let doubtful = Health::Doubtful { look_at };
        assert_eq!(doubt.judge(at(1000), LEASE, at(1501)), doubtful);
        assert_eq!(doubt.judge(at(1000), LEASE, at(1750)), doubtful);
        let silent = Duration::from_millis(751);
        assert_eq!(
            doubt.judge(at(1000), LEASE, look_at),
            Health::Stalled { silent }
        );
    }

    #[test]
    fn a_pause_of_everything_is_not_taken_for_the_guards_death() {
        let mut doubt = Doubt::default();
        assert_eq!(doubt.judge(at(1000), LEASE, at(1100)), Health::Alive);
        // Nobody ran for 0.8 s; the guard runs a moment after the sidecar.
        let look_at = at(2150);
        assert_eq!(
            doubt.judge(at(1000), LEASE, at(1900)),
            Health::Doubtful { look_at }
        );
        assert_eq!(doubt.judge(at(1901), LEASE, look_at), Health::Alive);
        // The next pause is a doubt of its own.
        assert!(matches!(
            doubt.judge(at(2150), LEASE, at(2900)),
            Health::Doubtful { .. }
        ));
    }
}
