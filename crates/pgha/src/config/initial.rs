//! Settings that a new cluster starts with.

use std::collections::BTreeMap;

use pgha_core::Settings;
use pgha_core::settings::PARAMETER_PREFIX;
use pgha_postgres::config::{ParameterTrust, UserParameters};

use super::error::ConfigError;
use super::resolver::Resolver;

const KEY: &str = "initial";

pub(super) fn parse(resolver: &mut Resolver) -> Result<Settings, ConfigError> {
    // One after the other on the same settings, as a cluster applies them.
    let mut settings = Settings::default();
    let mut given = BTreeMap::new();
    for item in resolver.items(KEY).unwrap_or_default() {
        let refused = |accepted: String| refused(resolver, item, accepted);
        let (key, value) = item
            .split_once('=')
            .ok_or_else(|| refused("expected KEY=VALUE, for example lease_ms=1500".to_owned()))?;
        let (key, value) = (key.trim(), value.trim());
        settings
            .set(key, value)
            .map_err(|error| refused(error.accepted))?;
        // PostgreSQL does not tell upper from lower case in a name.
        let shown = format!("{key}={value}");
        if given.insert(key.to_ascii_lowercase(), shown).is_some() {
            return Err(refused(format!("{key} is given twice; give it once")));
        }
    }
    let parameters = &settings.postgres_parameters;
    if let Err(error) = UserParameters::parse(parameters, ParameterTrust::DataOnly) {
        let item = given.get(&format!("{PARAMETER_PREFIX}{}", error.name));
        return Err(match item {
            Some(item) => refused(resolver, item, error.why.to_string()),
            // Two that do not go together, and the one that is named is at its default.
            None => resolver.refusal(KEY, error.to_string()),
        });
    }
    let shown: Vec<String> = given.into_values().collect();
    resolver.note(KEY, shown.join(";"));
    Ok(settings)
}

fn refused(resolver: &Resolver, item: &str, accepted: String) -> ConfigError {
    ConfigError::Value {
        key: KEY,
        value: item.to_owned(),
        origin: resolver.source(KEY),
        accepted,
    }
}
