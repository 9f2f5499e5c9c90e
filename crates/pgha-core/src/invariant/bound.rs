//! P3: how much an asynchronous failover may lose.

use std::time::Duration;

use super::{MissingWrite, Violation};
use crate::Lsn;
use crate::lease::LeaseTiming;

/// What an acknowledged write may be lost for in a failover that nobody ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossBound {
    /// `max_lag_on_failover` when the next primary was chosen.
    pub max_lag: u64,
    /// The highest flush position that a quorum of the voters had been told by then.
    pub told: Lsn,
    /// How long after the renewal that told it was sent the write was acknowledged.
    pub acknowledged_after: Duration,
    /// Of the lease that it was acknowledged under.
    pub timing: LeaseTiming,
}

/// P3: how much an asynchronous failover may lose. Where no operator accepted the loss, a lost write was
/// one of the last `max_lag` bytes before the highest flush position that a quorum of the voters was told;
/// or it came after that, and was acknowledged within one renewal interval and two thirds of the lease
/// from the renewal that told it. Both hold for the clocks that P1 allows.
pub fn loss_bounded(missing: &MissingWrite, bound: &LossBound) -> Result<(), Violation> {
    let behind = missing.end.bytes_behind(bound.told);
    let timing = bound.timing;
    let most = timing.close_after() + timing.renew_interval() + (timing.promise() - timing.lease());
    let why = if missing.end <= bound.told {
        // The line ends where the first missing write begins.
        if behind < bound.max_lag {
            return Ok(());
        }
        format!(
            "{behind} bytes below {}, which a quorum was told; max_lag_on_failover is {}",
            bound.told, bound.max_lag
        )
    } else if bound.acknowledged_after <= most {
        return Ok(());
    } else {
        format!(
            "acknowledged {} ms after the last renewal that a quorum granted",
            bound.acknowledged_after.as_millis()
        )
    };
    Err(Violation::LostTooMuch {
        epoch: missing.epoch,
        lsn: missing.end,
        written: missing.written,
        why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, TimelineId};

    fn judged(end: u64, max_lag: u64, acknowledged_after_ms: u64) -> bool {
        let missing = MissingWrite {
            end: Lsn(end),
            written: Epoch(1),
            timeline: TimelineId(1),
            epoch: Epoch(2),
        };
        let bound = LossBound {
            max_lag,
            told: Lsn(0x1000),
            acknowledged_after: Duration::from_millis(acknowledged_after_ms),
            timing: LeaseTiming::from_millis(1500).expect("valid"),
        };
        loss_bounded(&missing, &bound).is_ok()
    }

    #[test]
    fn what_a_quorum_was_told_is_lost_up_to_the_limit_only() {
        for (end, max_lag, good) in [
            (0x1000, 0, false),
            (0x1000, 1, true),
            (0x0F01, 0x100, true),
            (0x0F00, 0x100, false),
            (0x0001, 0x1000, true),
        ] {
            assert_eq!(judged(end, max_lag, 0), good, "{end:#x} {max_lag:#x}");
        }
    }

    #[test]
    fn what_came_after_is_lost_up_to_the_closing_of_the_gate_only() {
        for (ms, good) in [(0, true), (1000, true), (1151, true), (1152, false)] {
            assert_eq!(judged(0x1008, 0, ms), good, "{ms}");
        }
    }
}
