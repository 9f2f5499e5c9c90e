//! The lease: the time-bounded right of the primary of an epoch to serve writes.

mod grantor;
mod holder;
mod timing;

pub use grantor::{Answer, Grantor, ReleaseHash, Renewal, RenewalRefusal, release_hash};
pub use holder::{Hold, Holder, Quorums};
pub use timing::{
    CLOCK_RATE_ERROR_PPM, Deadlines, LEASE_MS_MAX, LEASE_MS_MIN, LeaseTiming, LeaseTimingError,
};
