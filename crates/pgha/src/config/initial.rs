//! Settings that a new cluster starts with.

use std::collections::BTreeMap;

use pgha_core::Settings;

use super::error::ConfigError;
use super::resolver::Resolver;

const KEY: &str = "initial";

pub(super) fn parse(resolver: &mut Resolver) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut settings = BTreeMap::new();
    // One after the other on the same settings, as the new cluster will apply them.
    let mut whole = Settings::default();
    for item in resolver.items(KEY).unwrap_or_default() {
        let refused = |accepted: String| ConfigError::Value {
            key: KEY,
            value: item.clone(),
            origin: resolver.source(KEY),
            accepted,
        };
        let (key, value) = item
            .split_once('=')
            .ok_or_else(|| refused("expected KEY=VALUE, for example lease_ms=1500".to_owned()))?;
        let (key, value) = (key.trim(), value.trim());
        whole
            .set(key, value)
            .map_err(|error| refused(error.accepted))?;
        if settings.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(refused(format!("{key} is given twice; give it once")));
        }
    }
    let shown: Vec<String> = settings
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    resolver.note(KEY, shown.join(";"));
    Ok(settings)
}
