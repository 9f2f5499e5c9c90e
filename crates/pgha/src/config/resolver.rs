//! Takes keys out of what was given, and notes the value in force and who gave it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use super::error::{ConfigError, Source};
use super::keys::{KEYS, find};
use super::layers::GivenItems;

/// A key with the value in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Effective {
    /// The key in the file's notation.
    pub(crate) key: &'static str,
    /// The value as it would be written; secrets are redacted.
    pub(crate) value: String,
    /// Who gave it.
    pub(crate) source: Source,
}

pub(super) struct Resolver {
    given: BTreeMap<&'static str, GivenItems>,
    effective: Vec<Effective>,
}

impl Resolver {
    pub(super) fn new(given: BTreeMap<&'static str, GivenItems>) -> Self {
        Self {
            given,
            effective: Vec::new(),
        }
    }

    /// Everything noted so far, in the order of the table.
    pub(super) fn take_effective(&mut self) -> Vec<Effective> {
        let mut effective = std::mem::take(&mut self.effective);
        effective.sort_by_key(|entry| KEYS.iter().position(|known| known.name == entry.key));
        effective
    }

    pub(super) fn is_given(&self, key: &str) -> bool {
        self.given.contains_key(key)
    }

    pub(super) fn source(&self, key: &str) -> Source {
        self.given
            .get(key)
            .map_or(Source::Default, |given| given.source)
    }

    /// Notes what is in force.
    pub(super) fn note(&mut self, key: &'static str, value: impl Display) {
        let source = self.source(key);
        self.effective.push(Effective {
            key,
            value: value.to_string(),
            source,
        });
    }

    /// The one text that was given, if any.
    pub(super) fn text(&self, key: &'static str) -> Option<&str> {
        self.given
            .get(key)
            .and_then(|given| given.items.first())
            .map(String::as_str)
    }

    /// All items that were given.
    pub(super) fn items(&self, key: &str) -> Option<&[String]> {
        self.given.get(key).map(|given| given.items.as_slice())
    }

    /// A refusal of what was given.
    pub(super) fn refusal(&self, key: &'static str, accepted: String) -> ConfigError {
        let value = self.items(key).unwrap_or_default().join(",");
        ConfigError::Value {
            key,
            value,
            origin: self.source(key),
            accepted,
        }
    }

    /// The parsed value, if the key was given.
    pub(super) fn optional<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let parsed = self.text(key).map(parse).transpose();
        parsed.map_err(|accepted| self.refusal(key, accepted))
    }

    /// The parsed value or the table's default, noted.
    pub(super) fn required<T: Display>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        let text = self.text(key).or_else(|| find(key).map(|key| key.default));
        let parsed = parse(text.unwrap_or_default());
        let value = parsed.map_err(|accepted| self.refusal(key, accepted))?;
        self.note(key, &value);
        Ok(value)
    }

    /// An absolute path, noted.
    pub(super) fn path(
        &mut self,
        key: &'static str,
        default: &Path,
    ) -> Result<PathBuf, ConfigError> {
        let path = self
            .optional(key, parse_path)?
            .unwrap_or_else(|| default.to_owned());
        self.note(key, path.display());
        Ok(path)
    }
}

/// A path, made absolute without looking at the disk: the daemon may change its directory.
pub(super) fn parse_path(text: &str) -> Result<PathBuf, String> {
    let accepted = "expected a path without line breaks";
    if text.chars().any(char::is_control) {
        return Err(accepted.to_owned());
    }
    std::path::absolute(text).map_err(|error| format!("{error}; {accepted}"))
}
