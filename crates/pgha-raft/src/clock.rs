//! The one clock that decisions are taken from.

use nix::time::{ClockId, clock_gettime};
use pgha_core::Mono;

/// Reads `CLOCK_BOOTTIME`: monotonic, and counting through a suspend, so that a node that was
/// asleep sees how long (`Instant` would not).
pub(crate) fn now() -> Mono {
    let time =
        clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME exists since Linux 2.6.39");
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    Mono::from_nanos(part(time.tv_sec()) * 1_000_000_000 + part(time.tv_nsec()))
}
