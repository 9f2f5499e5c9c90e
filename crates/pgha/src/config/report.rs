//! `pgha check-config`: the configuration in force, and where each value comes from.

use std::fmt::Write;

use serde_json::{Value, json};

use super::Config;

/// How the report looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people.
    #[default]
    Table,
    /// One JSON object.
    Json,
}

/// The report; secrets are redacted.
pub(crate) fn report(config: &Config, format: ReportFormat) -> String {
    match format {
        ReportFormat::Table => table(config),
        ReportFormat::Json => format!("{:#}\n", object(config)),
    }
}

fn table(config: &Config) -> String {
    let width =
        |of: fn(&super::Effective) -> usize| config.effective.iter().map(of).max().unwrap_or(0);
    let key_width = width(|entry| entry.key.len());
    let mut text = String::new();
    for entry in &config.effective {
        let value = if entry.value.is_empty() {
            "-"
        } else {
            &entry.value
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:<8} {:<key_width$} {value}",
            entry.source, entry.key
        );
    }
    for warning in &config.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    text
}

fn object(config: &Config) -> Value {
    let keys: serde_json::Map<String, Value> = config
        .effective
        .iter()
        .map(|entry| {
            (
                entry.key.to_owned(),
                json!({"value": entry.value, "source": entry.source.word()}),
            )
        })
        .collect();
    let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    json!({"keys": keys, "warnings": warnings})
}
