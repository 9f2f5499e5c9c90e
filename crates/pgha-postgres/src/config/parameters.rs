//! `postgres.parameters.*`: what users may set in PostgreSQL, and what pgha keeps to itself.

mod error;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::quote::quote_setting;

pub use error::{ParameterError, ParameterRefusal};

/// Fewest WAL senders and slots: members, clones of them (two each) and room for others.
pub(crate) const WAL_SENDERS_MIN: u32 = 10;

/// Owned by pgha: safety or finding PostgreSQL rests on them.
const OWNED: [&str; 27] = [
    "allow_system_table_mods",
    "archive_cleanup_command",
    "config_file",
    "data_directory",
    "data_sync_retry",
    "event_source",
    "external_pid_file",
    "fsync",
    "full_page_writes",
    "hba_file",
    "hot_standby",
    "ident_file",
    "ignore_invalid_pages",
    "include",
    "include_dir",
    "include_if_exists",
    "listen_addresses",
    "port",
    "primary_conninfo",
    "primary_slot_name",
    "promote_trigger_file",
    "restart_after_crash",
    "restore_command",
    "synchronous_standby_names",
    "unix_socket_directories",
    "wal_log_hints",
    "zero_damaged_pages",
];

/// Whole families owned by pgha.
const OWNED_PREFIXES: [&str; 2] = ["recovery_", "pgha."];

/// Settings by which PostgreSQL runs programs or loads code.
const RUNS_CODE: [&str; 10] = [
    "archive_command",
    "archive_library",
    "dynamic_library_path",
    "jit_provider",
    "local_preload_libraries",
    "oauth_validator_libraries",
    "session_preload_libraries",
    "shared_preload_libraries",
    "ssl_passphrase_command",
    "extension_control_path",
];

/// What together decides whether anybody without a reservation gets in.
const CONNECTION_LIMITS: [&str; 3] = [
    "max_connections",
    "reserved_connections",
    "superuser_reserved_connections",
];

/// What pgha writes unless the user does.
const RESERVED_CONNECTIONS: u64 = 5;

/// Where parameters come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterTrust {
    /// Whoever may change them may run programs on every member: settings that run code are in.
    MayRunCode,
    /// They may not: such settings are refused.
    DataOnly,
}

/// Parameters known to be acceptable, names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserParameters(BTreeMap<String, String>);

impl UserParameters {
    /// Checks them all; the first that is refused refuses the whole.
    pub fn parse(
        parameters: &BTreeMap<String, String>,
        trust: ParameterTrust,
    ) -> Result<Self, ParameterError> {
        let (taken, refused) = Self::sift(parameters, trust);
        refused.into_iter().next().map_or(Ok(taken), Err)
    }

    /// Takes those that are acceptable, and tells of each of the others why not: for what was stored
    /// before it was checked as it is now.
    pub fn sift(
        parameters: &BTreeMap<String, String>,
        trust: ParameterTrust,
    ) -> (Self, Vec<ParameterError>) {
        let (mut taken, mut refused) = (Self::default(), Vec::new());
        for (name, value) in parameters {
            match check(name, value, trust) {
                Ok(name) => drop(taken.0.insert(name, value.clone())),
                Err(why) => refused.push(ParameterError {
                    name: name.to_ascii_lowercase(),
                    value: value.clone(),
                    why,
                }),
            }
        }
        if let Err(error) = taken.check_connections() {
            // They are wrong together only, so none of them is the good one.
            taken
                .0
                .retain(|name, _| !CONNECTION_LIMITS.contains(&name.as_str()));
            refused.push(error);
        }
        (taken, refused)
    }

    /// PostgreSQL does not start without a connection that nobody has reserved, and does not say so when
    /// it is asked about values only (manual, 20.3.1).
    fn check_connections(&self) -> Result<(), ParameterError> {
        let number = |name: &str, default: u64| {
            let given = self.get(name).and_then(|value| value.trim().parse().ok());
            given.unwrap_or(default)
        };
        let reserved = number("superuser_reserved_connections", RESERVED_CONNECTIONS)
            .saturating_add(number("reserved_connections", 0));
        let all = number("max_connections", 100);
        if reserved < all {
            return Ok(());
        }
        Err(ParameterError {
            name: "max_connections".to_owned(),
            value: all.to_string(),
            why: ParameterRefusal::Value(format!(
                "a number above the {reserved} that are reserved"
            )),
        })
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// The name as PostgreSQL compares it.
fn check(name: &str, value: &str, trust: ParameterTrust) -> Result<String, ParameterRefusal> {
    let name = check_name(name)?;
    if OWNED.contains(&name.as_str())
        || OWNED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    {
        return Err(ParameterRefusal::Owned);
    }
    if trust == ParameterTrust::DataOnly && runs_code(&name) {
        return Err(ParameterRefusal::RunsCode);
    }
    quote_setting(value)?;
    let accepted = match name.as_str() {
        "wal_level" if !["replica", "logical"].contains(&value.to_ascii_lowercase().as_str()) => {
            "replica or logical: nothing less can be replicated".to_owned()
        }
        "max_wal_senders" | "max_replication_slots" if !is_at_least(value, WAL_SENDERS_MIN) => {
            format!("a number of at least {WAL_SENDERS_MIN}")
        }
        _ => return Ok(name),
    };
    Err(ParameterRefusal::Value(accepted))
}

fn check_name(name: &str) -> Result<String, ParameterRefusal> {
    let part_is_good = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if name.len() > 63 || name.split('.').count() > 2 || !name.split('.').all(part_is_good) {
        return Err(ParameterRefusal::Name);
    }
    Ok(name.to_ascii_lowercase())
}

/// Also what a procedural language runs when it is loaded: `plperl.on_init` and its like,
/// `pltcl.start_proc`.
fn runs_code(name: &str) -> bool {
    let of_language = name
        .strip_prefix("pl")
        .and_then(|rest| Some(rest.split_once('.')?.1));
    RUNS_CODE.contains(&name)
        || of_language.is_some_and(|own| {
            own.starts_with("on_") && own.ends_with("init") || own == "start_proc"
        })
}

fn is_at_least(value: &str, min: u32) -> bool {
    value
        .trim()
        .parse::<u32>()
        .is_ok_and(|number| number >= min)
}
