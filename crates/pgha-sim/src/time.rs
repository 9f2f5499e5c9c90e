//! Real time, and the clocks that nodes read instead of it.

use pgha_core::Mono;

/// Nanoseconds of real time since the run began. No node sees it.
pub type Nanos = u64;

/// One millisecond.
pub const MS: Nanos = 1_000_000;
/// One second.
pub const SECOND: Nanos = 1000 * MS;

/// A node's `CLOCK_BOOTTIME`: an offset of its own and a rate within the error that the lease allows
/// for.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    offset: i128,
    rate_ppm: i64,
}

impl Clock {
    /// A clock that reads `reading` at `now` and runs `rate_ppm` too fast.
    pub fn new(now: Nanos, reading: Nanos, rate_ppm: i64) -> Self {
        let mut clock = Self {
            offset: 0,
            rate_ppm,
        };
        clock.offset = i128::from(reading) - clock.elapsed(now);
        clock
    }

    /// Its reading at `now`.
    pub fn read(&self, now: Nanos) -> Mono {
        let nanos = self.offset + self.elapsed(now);
        Mono::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }

    /// The first moment at which it reads `reading` or more.
    pub fn when(&self, reading: Mono) -> Nanos {
        if reading == Mono::NEVER {
            return Nanos::MAX;
        }
        let target = i128::from(reading.as_nanos()) - self.offset;
        let estimate = target * 1_000_000 / (1_000_000 + i128::from(self.rate_ppm));
        let mut at = u64::try_from(estimate.max(0)).unwrap_or(Nanos::MAX);
        while self.read(at) < reading {
            at += 1;
        }
        at
    }

    fn elapsed(&self, now: Nanos) -> i128 {
        let now = i128::from(now);
        now + now * i128::from(self.rate_ppm) / 1_000_000
    }
}
