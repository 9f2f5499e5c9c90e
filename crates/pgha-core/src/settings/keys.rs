//! Settings by key, as they are typed: set, unset, shown.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::size::{SIZE, format_size, parse_size};
use super::{OnPrimaryCrash, Settings};
use crate::lease::{LEASE_MS_MAX, LEASE_MS_MIN, LeaseTiming};

/// A setting was refused; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{key} = {value} is refused: {accepted}")]
pub struct SettingError {
    /// The key as it was given.
    pub key: String,
    /// The value as it was given.
    pub value: String,
    /// What is accepted, or what to do instead.
    pub accepted: String,
}

/// Prefix of the keys that are PostgreSQL's own parameters.
pub const PARAMETER_PREFIX: &str = "postgres.parameters.";

/// Every key that can be set, beside those that begin with [`PARAMETER_PREFIX`].
pub const KEYS: [&str; 7] = [
    "lease_ms",
    "max_lag_on_failover",
    "on_primary_crash",
    "proxy.hold_ms",
    "read.fallback_to_primary",
    "read.max_lag",
    "sync.mode",
];

impl Settings {
    /// Sets one key. The version is the caller's to raise.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), SettingError> {
        let refused = |accepted: &str| SettingError {
            key: key.to_owned(),
            value: value.to_owned(),
            accepted: accepted.to_owned(),
        };
        match key {
            "lease_ms" => {
                let range = format!("accepted is {LEASE_MS_MIN} to {LEASE_MS_MAX} milliseconds");
                let lease_ms = value.parse().map_err(|_| refused(&range))?;
                LeaseTiming::from_millis(lease_ms)
                    .map_err(|error| refused(&format!("{}; {range}", error.why())))?;
                self.lease_ms = lease_ms;
                self.lease_ceiling_ms = self.lease_ceiling_ms.max(lease_ms);
            }
            "max_lag_on_failover" => {
                self.max_lag_on_failover = parse_size(value).ok_or_else(|| refused(SIZE))?;
            }
            "read.max_lag" => self.read_max_lag = parse_size(value).ok_or_else(|| refused(SIZE))?,
            "proxy.hold_ms" => {
                self.proxy_hold_ms = value
                    .parse()
                    .ok()
                    .filter(|ms| *ms <= 600_000)
                    .ok_or_else(|| refused("accepted is 0 to 600000 milliseconds"))?;
            }
            "read.fallback_to_primary" => {
                self.read_fallback_to_primary = value
                    .parse()
                    .map_err(|_| refused("accepted is true or false"))?;
            }
            "on_primary_crash" => {
                self.on_primary_crash = match value {
                    "auto" => OnPrimaryCrash::Auto,
                    "restart" => OnPrimaryCrash::Restart,
                    "failover" => OnPrimaryCrash::Failover,
                    _ => return Err(refused("accepted is auto, restart or failover")),
                };
            }
            "sync.mode" if value == "async" => {}
            "sync.mode" => {
                return Err(refused(
                    "accepted is async; synchronous modes are not in this version",
                ));
            }
            _ => match key.strip_prefix(PARAMETER_PREFIX) {
                Some(name) => self
                    .set_parameter(name, value)
                    .map_err(|why| refused(&why))?,
                None => {
                    let known = KEYS.join(", ");
                    return Err(refused(&format!(
                        "no such key; accepted are {known} and {PARAMETER_PREFIX}NAME"
                    )));
                }
            },
        }
        Ok(())
    }

    /// Sets one key back to its default.
    pub fn unset(&mut self, key: &str) -> Result<(), SettingError> {
        if let Some(name) = key.strip_prefix(PARAMETER_PREFIX) {
            // As it was set: PostgreSQL does not tell upper from lower case in a name.
            self.postgres_parameters.remove(&name.to_ascii_lowercase());
            return Ok(());
        }
        let default = Self::default().values().remove(key).unwrap_or_default();
        self.set(key, &default)
    }

    /// Every key with its value as it would be typed.
    pub fn values(&self) -> BTreeMap<String, String> {
        let crash = match self.on_primary_crash {
            OnPrimaryCrash::Auto => "auto",
            OnPrimaryCrash::Restart => "restart",
            OnPrimaryCrash::Failover => "failover",
        };
        let mut values = BTreeMap::from([
            ("lease_ms".to_owned(), self.lease_ms.to_string()),
            (
                "max_lag_on_failover".to_owned(),
                format_size(self.max_lag_on_failover),
            ),
            ("on_primary_crash".to_owned(), crash.to_owned()),
            ("proxy.hold_ms".to_owned(), self.proxy_hold_ms.to_string()),
            (
                "read.fallback_to_primary".to_owned(),
                self.read_fallback_to_primary.to_string(),
            ),
            ("read.max_lag".to_owned(), format_size(self.read_max_lag)),
            ("sync.mode".to_owned(), "async".to_owned()),
        ]);
        for (name, value) in &self.postgres_parameters {
            values.insert(format!("{PARAMETER_PREFIX}{name}"), value.clone());
        }
        values
    }
}
