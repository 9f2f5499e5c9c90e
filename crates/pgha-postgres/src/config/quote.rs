//! Quoting, so that a value stays a value wherever it is written.

/// The text cannot be written into a PostgreSQL file or statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} {reason}, which is not accepted here")]
pub struct QuoteError {
    /// The text.
    pub text: String,
    /// What it does.
    pub reason: &'static str,
}

/// Refuses line breaks, which would begin a setting or a line of their own, and NUL, which would
/// end the text in C.
pub(crate) fn refuse_control(text: &str) -> Result<&str, QuoteError> {
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err(QuoteError {
            text: text.to_owned(),
            reason: "holds a line break or another control character",
        });
    }
    Ok(text)
}

/// A value for `postgresql.conf` (manual, 20.1.2 "Parameter Interaction via the Configuration
/// File"): quotes are doubled, backslashes too because PostgreSQL's reader takes them for escapes.
pub fn quote_setting(value: &str) -> Result<String, QuoteError> {
    let value = refuse_control(value)?
        .replace('\\', "\\\\")
        .replace('\'', "''");
    Ok(format!("'{value}'"))
}

/// A string literal for a statement. With `standard_conforming_strings`, which pgha's sessions
/// pin to `on`, a backslash is nothing special (manual, 4.1.2.1 "String Constants").
pub fn quote_literal(value: &str) -> Result<String, QuoteError> {
    Ok(format!("'{}'", refuse_control(value)?.replace('\'', "''")))
}

/// An identifier for a statement (manual, 4.1.1 "Identifiers and Key Words").
pub fn quote_identifier(name: &str) -> Result<String, QuoteError> {
    Ok(format!(
        "\"{}\"",
        refuse_control(name)?.replace('"', "\"\"")
    ))
}

/// A name for `pg_hba.conf` or `pg_ident.conf`: quoted, it loses any special meaning (manual,
/// 21.1 "The pg_hba.conf File"). But for a slash in front, after which PostgreSQL reads a regular
/// expression, quoted or not: such a name would admit others.
pub(crate) fn quote_hba(name: &str) -> Result<String, QuoteError> {
    if name.starts_with('/') {
        return Err(QuoteError {
            text: name.to_owned(),
            reason: "begins with a slash",
        });
    }
    quote_identifier(name)
}

#[cfg(test)]
mod tests;
