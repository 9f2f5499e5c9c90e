//! The lease: the time-bounded right of the primary of an epoch to serve writes.

mod grantor;
mod holder;
mod quorums;
mod timing;

#[cfg(test)]
mod tests;

pub use grantor::{
    Answer, EPOCH_JUMP_MAX, Grantor, Release, ReleaseHash, Renewal, RenewalRefusal, is_believable,
    release_hash,
};
pub use holder::{Hold, Holder};
pub use quorums::Quorums;
pub use timing::{
    CLOCK_RATE_ERROR_PPM, Deadlines, LEASE_MS_MAX, LEASE_MS_MIN, LeaseTiming, LeaseTimingError,
};
