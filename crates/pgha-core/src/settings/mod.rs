//! Settings of the whole cluster: replicated, versioned, validated together.

mod keys;
mod parameters;
mod size;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lease::{LEASE_MS_MAX, LeaseTiming};

pub use keys::{KEYS, PARAMETER_PREFIX, SettingError};
pub use size::{format_size, parse_size};

/// What to do when the primary's PostgreSQL ends by itself while its node lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnPrimaryCrash {
    /// Whichever is surely faster.
    Auto,
    /// Start it again where it is.
    Restart,
    /// Promote a replica.
    Failover,
}

/// The settings, all valid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Raised by each change.
    pub version: u64,
    /// Lease time in milliseconds.
    pub lease_ms: u64,
    /// The longest lease that a promise still alive may have been given for, in milliseconds.
    pub lease_ceiling_ms: u64,
    /// Bytes of WAL that an automatic promotion may lose at most.
    pub max_lag_on_failover: u64,
    /// How long a new connection waits for a primary, in milliseconds.
    pub proxy_hold_ms: u64,
    /// Whether the read-only port serves from the primary where there is no replica.
    pub read_fallback_to_primary: bool,
    /// Bytes of WAL that a replica may be behind and still serve reads.
    pub read_max_lag: u64,
    /// What to do when the primary's PostgreSQL ends by itself.
    pub on_primary_crash: OnPrimaryCrash,
    /// PostgreSQL parameters of every member.
    pub postgres_parameters: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            version: 0,
            lease_ms: 1500,
            lease_ceiling_ms: 1500,
            max_lag_on_failover: 16 << 20,
            proxy_hold_ms: 10_000,
            read_fallback_to_primary: true,
            read_max_lag: 16 << 20,
            on_primary_crash: OnPrimaryCrash::Auto,
            postgres_parameters: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// The lease time with its deadlines.
    pub fn lease(&self) -> LeaseTiming {
        // Checked when it was set; a state that carries another value is from a newer version.
        LeaseTiming::from_millis(self.lease_ms)
            .or_else(|_| LeaseTiming::from_millis(LEASE_MS_MAX))
            .expect("the longest lease is valid")
    }

    /// How long a started or changed member grants nothing new: the longest promise that it may
    /// have given and forgotten.
    pub fn start_wait(&self) -> Duration {
        LeaseTiming::from_millis(self.lease_ceiling_ms.max(self.lease_ms)).map_or(
            Duration::from_millis(LEASE_MS_MAX * 2),
            LeaseTiming::promise,
        )
    }
}
