//! `postgres.parameters.*`: what users may set in PostgreSQL, and what pgha keeps to itself.

use std::collections::BTreeMap;

use super::quote::{QuoteError, quote_setting};

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

/// A parameter is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// Not a name.
    #[error(
        "postgres.parameters.{name}: not a parameter name; letters, digits and _ are accepted, and one dot"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// pgha's own.
    #[error("postgres.parameters.{name} = {value}: refused, pgha sets it itself")]
    Owned {
        /// The name.
        name: String,
        /// The value.
        value: String,
    },
    /// Would run programs.
    #[error(
        "postgres.parameters.{name} = {value}: refused here because it makes PostgreSQL run programs or load code"
    )]
    RunsCode {
        /// The name.
        name: String,
        /// The value.
        value: String,
    },
    /// The value does not fit.
    #[error("postgres.parameters.{name} = {value}: accepted is {accepted}")]
    Value {
        /// The name.
        name: String,
        /// The value.
        value: String,
        /// What would be accepted.
        accepted: String,
    },
    /// The value cannot be quoted.
    #[error("postgres.parameters.{name}: {source}")]
    Quote {
        /// The name.
        name: String,
        /// Why not.
        #[source]
        source: QuoteError,
    },
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
        let mut checked = BTreeMap::new();
        for (name, value) in parameters {
            let name = check_name(name)?;
            check(&name, value, trust)?;
            checked.insert(name, value.clone());
        }
        let checked = Self(checked);
        checked.check_connections()?;
        Ok(checked)
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
        Err(ParameterError::Value {
            name: "max_connections".to_owned(),
            value: all.to_string(),
            accepted: format!("a number above the {reserved} that are reserved"),
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

fn check_name(name: &str) -> Result<String, ParameterError> {
    let part_is_good = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if name.len() > 63 || name.split('.').count() > 2 || !name.split('.').all(part_is_good) {
        return Err(ParameterError::Name {
            name: name.to_owned(),
        });
    }
    Ok(name.to_ascii_lowercase())
}

fn check(name: &str, value: &str, trust: ParameterTrust) -> Result<(), ParameterError> {
    let (named, given) = (|| name.to_owned(), || value.to_owned());
    if OWNED.contains(&name) || OWNED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return Err(ParameterError::Owned {
            name: named(),
            value: given(),
        });
    }
    if trust == ParameterTrust::DataOnly && runs_code(name) {
        return Err(ParameterError::RunsCode {
            name: named(),
            value: given(),
        });
    }
    quote_setting(value).map_err(|source| ParameterError::Quote {
        name: named(),
        source,
    })?;
    let accepted = match name {
        "wal_level" if !["replica", "logical"].contains(&value.to_ascii_lowercase().as_str()) => {
            "replica or logical: nothing less can be replicated".to_owned()
        }
        "max_wal_senders" | "max_replication_slots" if !is_at_least(value, WAL_SENDERS_MIN) => {
            format!("a number of at least {WAL_SENDERS_MIN}")
        }
        _ => return Ok(()),
    };
    Err(ParameterError::Value {
        name: named(),
        value: given(),
        accepted,
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(
        name: &str,
        value: &str,
        trust: ParameterTrust,
    ) -> Result<UserParameters, ParameterError> {
        UserParameters::parse(
            &BTreeMap::from([(name.to_owned(), value.to_owned())]),
            trust,
        )
    }

    #[test]
    fn refuses_what_pgha_owns_in_any_spelling() {
        for name in [
            "synchronous_standby_names",
            "primary_conninfo",
            "Primary_Slot_Name",
            "restore_command",
            "recovery_target_timeline",
            "recovery_min_apply_delay",
            "FSYNC",
            "full_page_writes",
            "restart_after_crash",
            "hot_standby",
            "listen_addresses",
            "port",
            "data_directory",
            "hba_file",
            "include_if_exists",
            "pgha.revision",
        ] {
            let error = parse(name, "x", ParameterTrust::MayRunCode).unwrap_err();
            assert!(
                matches!(error, ParameterError::Owned { .. }),
                "{name}: {error}"
            );
        }
    }

    #[test]
    fn wal_level_is_at_least_replica() {
        assert!(parse("wal_level", "minimal", ParameterTrust::MayRunCode).is_err());
        assert!(parse("wal_level", "Logical", ParameterTrust::MayRunCode).is_ok());
        assert!(parse("max_wal_senders", "0", ParameterTrust::MayRunCode).is_err());
        assert!(parse("max_wal_senders", "20", ParameterTrust::MayRunCode).is_ok());
    }

    #[test]
    fn code_needs_trust() {
        for name in [
            "archive_command",
            "plperl.on_init",
            "plperl.on_plperlu_init",
            "pltcl.start_proc",
        ] {
            let error = parse(name, "cp", ParameterTrust::DataOnly).unwrap_err();
            assert!(matches!(error, ParameterError::RunsCode { .. }), "{name}");
            assert!(parse(name, "cp", ParameterTrust::MayRunCode).is_ok());
        }
        assert!(
            parse(
                "plpgsql.variable_conflict",
                "error",
                ParameterTrust::DataOnly
            )
            .is_ok()
        );
    }

    #[test]
    fn somebody_without_a_reservation_gets_in() {
        let all = |values: &[(&str, &str)]| {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let parameters = values.iter().map(owned).collect();
            UserParameters::parse(&parameters, ParameterTrust::DataOnly)
        };
        let error = all(&[("max_connections", "5")]).unwrap_err().to_string();
        assert!(error.contains("above the 5 that are reserved"), "{error}");
        assert!(all(&[("max_connections", "6")]).is_ok());
        assert!(all(&[("superuser_reserved_connections", "100")]).is_err());
        let more = [
            ("superuser_reserved_connections", "100"),
            ("max_connections", "200"),
        ];
        assert!(all(&more).is_ok());
    }

    #[test]
    fn names_and_values_stay_on_their_line() {
        for name in [
            "",
            "a b",
            "a=b",
            "a\nb",
            "1a",
            "a.b.c",
            ".a",
            "a.",
            "a'b",
            "port = 1\nfsync",
        ] {
            let error = parse(name, "1", ParameterTrust::MayRunCode).unwrap_err();
            assert!(matches!(error, ParameterError::Name { .. }), "{name:?}");
        }
        let error = parse("work_mem", "1\nfsync = off", ParameterTrust::MayRunCode).unwrap_err();
        assert!(matches!(error, ParameterError::Quote { .. }));
    }

    proptest! {
        #[test]
        fn an_owned_name_never_passes(index in 0..OWNED.len(), upper: Vec<bool>) {
            let name: String = OWNED[index].chars().enumerate()
                .map(|(at, c)| if upper.get(at).copied().unwrap_or(false) { c.to_ascii_uppercase() } else { c })
                .collect();
            prop_assert!(parse(&name, "on", ParameterTrust::MayRunCode).is_err());
        }

        /// What is taken is one line of a configuration file, whatever it is called and holds.
        #[test]
        fn any_name_and_value_are_taken_or_refused(
            name in prop_oneof!["[a-zA-Z_][a-zA-Z0-9_.]{0,70}", any::<String>()],
            value: String,
        ) {
            for trust in [ParameterTrust::MayRunCode, ParameterTrust::DataOnly] {
                let Ok(parameters) = parse(&name, &value, trust) else {
                    continue;
                };
                let taken: Vec<_> = parameters.iter().collect();
                prop_assert_eq!(&taken, &[(&*name.to_ascii_lowercase(), &*value)]);
                let line = format!("{} = {}", taken[0].0, quote_setting(taken[0].1).unwrap());
                prop_assert_eq!(line.lines().count(), 1);
                prop_assert!(!line.chars().any(|c| matches!(c, '\n' | '\r' | '\0')));
            }
        }
    }
}
