//! Flag over variable over file over default.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::error::{ConfigError, Source};
use super::file::FileValues;
use super::flags::ConfigArgs;
use super::keys::{KEYS, VARIABLE_PREFIX, closest};
use super::warning::Warning;

/// The variable that names the configuration file.
pub(super) const CONFIG_VARIABLE: &str = "PGHA_CONFIG";
/// Read by `pgha-ctl`, often set beside ours.
const FOREIGN_VARIABLES: [&str; 1] = ["PGHA_ENDPOINTS"];

/// What the process finds around itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// Variables whose names begin with `PGHA_`; an empty one counts as absent.
    pub(super) variables: BTreeMap<String, String>,
    /// The host's name, where it is text.
    pub(super) host_name: Option<String>,
}

impl Surroundings {
    /// Takes what is pgha's out of `variables`.
    pub(crate) fn new(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        host_name: Option<String>,
    ) -> Result<Self, ConfigError> {
        let mut ours = BTreeMap::new();
        for (name, value) in variables {
            let Ok(name) = name.into_string() else {
                continue;
            };
            if !name.starts_with(VARIABLE_PREFIX) || value.is_empty() {
                continue;
            }
            let Ok(value) = value.into_string() else {
                return Err(ConfigError::NotText { variable: name });
            };
            ours.insert(name, value);
        }
        Ok(Self {
            variables: ours,
            host_name,
        })
    }

    /// Of this very process.
    pub(crate) fn of_this_process() -> Result<Self, ConfigError> {
        let host_name = hostname::get()
            .ok()
            .and_then(|name| name.into_string().ok());
        Self::new(std::env::vars_os(), host_name)
    }

    /// Variables that begin with the prefix and mean nothing. Only a warning: Kubernetes sets
    /// `PGHA_PORT` and others by itself for a service that is called pgha.
    pub(super) fn unknown_variables(&self) -> Vec<Warning> {
        let known: Vec<String> = KEYS.iter().filter_map(|key| key.variable()).collect();
        let is_known = |name: &str| {
            name == CONFIG_VARIABLE
                || FOREIGN_VARIABLES.contains(&name)
                || known.iter().any(|variable| variable == name)
        };
        let hint = |name: &str| {
            closest(name, known.iter().map(String::as_str))
                .map_or_else(String::new, |closest| format!(", did you mean {closest}?"))
        };
        let unknown = self.variables.keys().filter(|name| !is_known(name));
        unknown
            .map(|name| Warning::UnknownVariable {
                variable: name.clone(),
                hint: hint(name),
            })
            .collect()
    }
}

/// The items that a key was given, and by whom.
#[derive(Clone, Debug)]
pub(super) struct GivenItems {
    pub(super) items: Vec<String>,
    pub(super) source: Source,
}

/// For each key that anybody gave: what the highest source says. Lists are not merged.
pub(super) fn merge(
    args: &ConfigArgs,
    around: &Surroundings,
    mut file: FileValues,
) -> BTreeMap<&'static str, GivenItems> {
    let mut given = BTreeMap::new();
    for key in KEYS {
        let variable = key.variable().and_then(|name| around.variables.get(&name));
        let (items, source) = if let Some(items) = args.given.get(key.name) {
            (items.clone(), Source::Flag)
        } else if let Some(text) = variable {
            (key.split(text), Source::Environment)
        } else if let Some(items) = file.remove(key.name) {
            (items, Source::File)
        } else {
            continue;
        };
        given.insert(key.name, GivenItems { items, source });
    }
    given
}
