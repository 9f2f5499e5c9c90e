//! Settings of the whole cluster: replicated, versioned, validated together.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lease::{LEASE_MS_MAX, LEASE_MS_MIN, LeaseTiming};

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

const OWNED_BY_PGHA: [&str; 18] = [
    "data_directory",
    "fsync",
    "full_page_writes",
    "hba_file",
    "hot_standby",
    "ident_file",
    "listen_addresses",
    "port",
    "primary_conninfo",
    "primary_slot_name",
    "promote_trigger_file",
    "restart_after_crash",
    "restore_command",
    "synchronous_standby_names",
    "unix_socket_directories",
    "unix_socket_permissions",
    "wal_log_hints",
    "external_pid_file",
];

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
            self.postgres_parameters.remove(name);
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

    fn set_parameter(&mut self, name: &str, value: &str) -> Result<(), String> {
        let lower = name.to_ascii_lowercase();
        let well_formed = !lower.is_empty()
            && lower.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && lower
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.');
        if !well_formed {
            return Err("a parameter's name has letters, digits, `_` and `.` only".to_owned());
        }
        if OWNED_BY_PGHA.contains(&lower.as_str()) || lower.starts_with("recovery_") {
            return Err("pgha owns this parameter; leave it out".to_owned());
        }
        if lower == "wal_level" && !matches!(value, "replica" | "logical") {
            return Err("accepted is replica or logical".to_owned());
        }
        if value.chars().any(char::is_control) {
            return Err("a value has no line breaks or other control characters".to_owned());
        }
        self.postgres_parameters.insert(lower, value.to_owned());
        Ok(())
    }
}

const SIZE: &str = "accepted is a number of bytes, or one with kB, KiB, MiB, GiB or TiB";
const UNITS: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];

/// Reads `16MiB`, `64 KiB`, `1000kB` or a number of bytes.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, factor) = UNITS
        .iter()
        .chain(&[("kB", 1000)])
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))
        .unwrap_or((text, 1));
    digits.trim_end().parse::<u64>().ok()?.checked_mul(factor)
}

/// Writes a size so that [`parse_size`] reads the same number.
pub fn format_size(bytes: u64) -> String {
    UNITS
        .iter()
        .find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor))
        .map_or_else(
            || bytes.to_string(),
            |(unit, factor)| format!("{}{unit}", bytes / factor),
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_key_can_be_set_to_what_it_shows() {
        let settings = Settings::default();
        for (key, value) in settings.values() {
            let mut copy = settings.clone();
            copy.set(&key, &value).expect("its own value is accepted");
            assert_eq!(copy, settings, "{key}");
        }
        assert_eq!(KEYS.len(), settings.values().len());
    }

    #[test]
    fn refuses_with_key_value_and_way_out() {
        let mut settings = Settings::default();
        for (key, value) in [
            ("lease_ms", "1009"),
            ("lease_ms", "60001"),
            ("lease_ms", "soon"),
            ("max_lag_on_failover", "-1"),
            ("max_lag_on_failover", "99999999999TiB"),
            ("proxy.hold_ms", "1h"),
            ("on_primary_crash", "maybe"),
            ("sync.mode", "strict"),
            ("leese_ms", "1500"),
            ("postgres.parameters.fsync", "off"),
            ("postgres.parameters.Recovery_Target", "immediate"),
            ("postgres.parameters.wal_level", "minimal"),
            ("postgres.parameters.work_mem", "4MB\nfsync = off"),
            ("postgres.parameters.x y", "1"),
        ] {
            let error = settings.set(key, value).expect_err(key).to_string();
            assert!(error.contains(key) && error.contains(value), "{error}");
        }
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn lowering_the_lease_keeps_the_ceiling() {
        let mut settings = Settings::default();
        settings.set("lease_ms", "3000").expect("valid");
        settings.set("lease_ms", "1010").expect("valid");
        assert_eq!(settings.lease_ceiling_ms, 3000);
        assert!(settings.start_wait() >= Duration::from_millis(3000));
    }

    proptest! {
        #[test]
        fn sizes_round_trip(bytes: u64) {
            prop_assert_eq!(parse_size(&format_size(bytes)), Some(bytes));
        }
    }
}
