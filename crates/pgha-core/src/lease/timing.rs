//! How a lease time divides into deadlines.

use std::time::Duration;

use crate::Mono;

/// The clock rate error that every bound allows for, in parts per million.
pub const CLOCK_RATE_ERROR_PPM: u64 = 1000;
/// The shortest lease that leaves room for the stalls listed at [`LeaseTiming::from_millis`].
pub const LEASE_MS_MIN: u64 = 1010;
/// The longest lease that is accepted.
pub const LEASE_MS_MAX: u64 = 60_000;

const STALL: Duration = Duration::from_millis(150);
const STOP: Duration = Duration::from_millis(100);
const KILL_AND_WAKE: Duration = Duration::from_millis(200);

/// A lease time, checked, and the deadlines that follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseTiming {
    lease_ms: u64,
}

/// The lease time leaves no room for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "lease_ms {lease_ms} is refused: {why}; accepted is {LEASE_MS_MIN} to {LEASE_MS_MAX} milliseconds"
)]
pub struct LeaseTimingError {
    lease_ms: u64,
    why: &'static str,
}

impl LeaseTimingError {
    /// What does not fit.
    pub const fn why(&self) -> &'static str {
        self.why
    }
}

/// When a holder does what, counted from its last good send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// New read-write connections are held.
    pub hold: Mono,
    /// The gate closes in both directions and PostgreSQL gets an immediate stop.
    pub close: Mono,
    /// The guard kills the tree.
    pub kill: Mono,
    /// The hard end: from here on another member may be granted.
    pub end: Mono,
}

impl LeaseTiming {
    /// Checks that each stage leaves room for what happens in it: three renewals and two stalls
    /// before the gate closes, the stop before the kill, the kill before the end.
    pub fn from_millis(lease_ms: u64) -> Result<Self, LeaseTimingError> {
        let refused = |why| Err(LeaseTimingError { lease_ms, why });
        if lease_ms > LEASE_MS_MAX {
            return refused("it would keep a dead primary's place for too long");
        }
        if lease_ms < LEASE_MS_MIN {
            return refused("the stages of fencing would not fit into it");
        }
        let timing = Self { lease_ms };
        if timing.close_after() < timing.renew_interval() * 3 + STALL * 2 {
            return refused("three renewals and two stalls do not fit before the gate closes");
        }
        if timing.kill_after().saturating_sub(timing.close_after()) < STOP {
            return refused("PostgreSQL's stop does not fit before the kill");
        }
        if timing.end_after().saturating_sub(timing.kill_after()) < KILL_AND_WAKE {
            return refused("the kill does not fit before the lease's end");
        }
        Ok(timing)
    }

    /// The lease time itself, in milliseconds.
    pub const fn lease_ms(self) -> u64 {
        self.lease_ms
    }

    /// The lease time itself.
    pub const fn lease(self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    /// Between two sends to one grantor: L/10.
    pub fn renew_interval(self) -> Duration {
        self.lease() / 10
    }

    /// From the last good send until new connections are held: L/2.
    pub fn hold_after(self) -> Duration {
        self.lease() / 2
    }

    /// From the last good send until the gate closes: 2/3 L.
    pub fn close_after(self) -> Duration {
        self.lease() * 2 / 3
    }

    /// From the last good send until the guard kills: 0.8 L.
    pub fn kill_after(self) -> Duration {
        self.lease() * 4 / 5
    }

    /// From the last good send until the holder's right ends on a clock that runs slow: L(1-rho).
    pub fn end_after(self) -> Duration {
        self.lease() - self.clock_error()
    }

    /// From a receipt until a grantor may support somebody else, on a clock that runs fast: L(1+rho).
    pub fn promise(self) -> Duration {
        self.lease() + self.clock_error()
    }

    /// From the last receipt until a grantor calls the holder silent. After 2/3 L without a quorum
    /// the holder has closed its gate for good, so a Revoke from then on costs nothing that was not
    /// lost; what permits the next primary is the promise alone (P5).
    pub fn silent_after(self) -> Duration {
        self.lease() * 3 / 4
    }

    /// The deadlines of a holder whose last good send was at `sent`.
    pub fn deadlines(self, sent: Mono) -> Deadlines {
        Deadlines {
            hold: sent + self.hold_after(),
            close: sent + self.close_after(),
            kill: sent + self.kill_after(),
            end: sent + self.end_after(),
        }
    }

    fn clock_error(self) -> Duration {
        self.lease() * u32::try_from(CLOCK_RATE_ERROR_PPM).unwrap_or(u32::MAX) / 1_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_default_has_the_documented_stages() {
        let timing = LeaseTiming::from_millis(1500).expect("the default is valid");
        let at = timing.deadlines(Mono::ZERO);
        assert_eq!(at.hold, Mono::from_millis(750));
        assert_eq!(at.close, Mono::from_millis(1000));
        assert_eq!(at.kill, Mono::from_millis(1200));
        assert_eq!(at.end, Mono::from_nanos(1_498_500_000));
        assert_eq!(timing.promise(), Duration::from_micros(1_501_500));
    }

    #[test]
    fn refuses_what_leaves_no_room() {
        for lease_ms in [0, 1, 999, 1009, 60_001, u64::MAX] {
            let error = LeaseTiming::from_millis(lease_ms).expect_err("out of range");
            assert!(error.to_string().contains(&lease_ms.to_string()), "{error}");
        }
        assert!(LeaseTiming::from_millis(LEASE_MS_MIN).is_ok());
        assert!(LeaseTiming::from_millis(LEASE_MS_MAX).is_ok());
    }

    proptest! {
        #[test]
        fn a_holder_always_ends_before_its_grantors(
            lease_ms in LEASE_MS_MIN..=LEASE_MS_MAX,
            sent in 0u64..1 << 50,
            transit_ns in 0u64..1 << 40,
        ) {
            let timing = LeaseTiming::from_millis(lease_ms).expect("in range");
            let at = timing.deadlines(Mono::from_nanos(sent));
            let received = Mono::from_nanos(sent + transit_ns);
            prop_assert!(at.hold < at.close && at.close < at.kill && at.kill < at.end);
            prop_assert!(at.end < received + timing.promise());
            prop_assert!(timing.silent_after() > timing.close_after());
        }
    }
}
