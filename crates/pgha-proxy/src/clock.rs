//! The clock as an argument, so that tests can jump it.

use nix::time::{ClockId, clock_gettime};
use pgha_core::Mono;

/// Where the gate reads the time.
pub trait Clock: Send + Sync + 'static {
    /// A fresh reading of `CLOCK_BOOTTIME`.
    fn now(&self) -> Mono;
}

/// The kernel's `CLOCK_BOOTTIME`: it counts while the host is suspended. Read through the vDSO,
/// without a system call.
#[derive(Clone, Copy, Debug, Default)]
pub struct BootClock;

impl Clock for BootClock {
    fn now(&self) -> Mono {
        // A clock that cannot be read counts as "too late": the gate shuts.
        clock_gettime(ClockId::CLOCK_BOOTTIME)
            .ok()
            .and_then(|time| {
                let seconds = u64::try_from(time.tv_sec()).ok()?;
                let nanos = u64::try_from(time.tv_nsec()).ok()?;
                Some(Mono::from_nanos(seconds * 1_000_000_000 + nanos))
            })
            .unwrap_or(Mono::NEVER)
    }
}
