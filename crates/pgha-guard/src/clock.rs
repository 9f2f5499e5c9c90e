//! The only clock of a safety decision.

use nix::time::{ClockId, clock_gettime};
use pgha_core::Mono;

/// Reads `CLOCK_BOOTTIME`: it never jumps, and it counts while the host is suspended, so that a
/// resumed node sees that its lease is over.
///
/// Where the clock cannot be read, which no Linux since 2.6.39 does, every deadline has passed.
pub fn now() -> Mono {
    let Ok(time) = clock_gettime(ClockId::CLOCK_BOOTTIME) else {
        return Mono::NEVER;
    };
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec()).unwrap_or(0);
    Mono::from_nanos(seconds * 1_000_000_000 + nanos)
}

#[cfg(test)]
mod tests {
    #[test]
    fn goes_forward() {
        let first = super::now();
        let second = super::now();
        assert!(first > pgha_core::Mono::ZERO && second >= first);
    }
}
