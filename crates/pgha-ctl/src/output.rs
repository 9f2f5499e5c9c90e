//! What goes to standard output, in the form that was asked for.

use std::io::{self, Write};

use serde::Serialize;

use crate::error::CtlError;

/// The form of a command's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
}

impl Output {
    /// Writes `value`, or for people the text that `table` makes of it.
    pub(crate) fn print<T: Serialize>(
        self,
        value: &T,
        table: impl FnOnce(&T) -> String,
    ) -> Result<(), CtlError> {
        let text = match self {
            Self::Table => table(value),
            Self::Json => json(value, serde_json::to_string_pretty)?,
            Self::Yaml => yaml(value)?,
        };
        write_out(&text)
    }
}

/// One line of JSON.
pub(crate) fn json_line<T: Serialize>(value: &T) -> Result<String, CtlError> {
    json(value, serde_json::to_string)
}

/// One YAML document.
pub(crate) fn yaml<T: Serialize>(value: &T) -> Result<String, CtlError> {
    serde_saphyr::to_string(value).map_err(|error| CtlError::Output(io::Error::other(error)))
}

fn json<T: Serialize>(
    value: &T,
    write: impl Fn(&T) -> serde_json::Result<String>,
) -> Result<String, CtlError> {
    let mut text = write(value).map_err(|error| CtlError::Output(error.into()))?;
    text.push('\n');
    Ok(text)
}

/// Writes to standard output and says when nobody reads it any more.
pub(crate) fn write_out(text: &str) -> Result<(), CtlError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// A line to standard error. A closed standard error is no reason to stop in the middle of a change.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
