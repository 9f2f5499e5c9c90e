//! What the sidecar counts about itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the histogram of renewal round trips, in milliseconds.
pub(crate) const RENEWAL_BOUNDS_MS: [u64; 10] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000];

/// A histogram of renewal round trips: how near stalls come to the lease's limits.
#[derive(Debug, Default)]
pub(crate) struct RenewalTimes {
    buckets: [AtomicU64; RENEWAL_BOUNDS_MS.len() + 1],
    sum_us: AtomicU64,
}

impl RenewalTimes {
    pub(crate) fn record(&self, took: Duration) {
        let ms = took.as_millis();
        let bucket = RENEWAL_BOUNDS_MS
            .iter()
            .position(|bound| ms <= u128::from(*bound));
        if let Some(count) = self.buckets.get(bucket.unwrap_or(RENEWAL_BOUNDS_MS.len())) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Counts up to each bound, then the count of all and the sum in seconds.
    pub(crate) fn cumulative(&self) -> (Vec<(u64, u64)>, u64, f64) {
        let mut total = 0;
        let mut bounded = Vec::new();
        for (index, count) in self.buckets.iter().enumerate() {
            total += count.load(Ordering::Relaxed);
            if let Some(bound) = RENEWAL_BOUNDS_MS.get(index) {
                bounded.push((*bound, total));
            }
        }
        let seconds = Duration::from_micros(self.sum_us.load(Ordering::Relaxed)).as_secs_f64();
        (bounded, total, seconds)
    }
}
