//! Quoting, so that a value stays a value wherever it is written.

/// The text cannot be written into a PostgreSQL file or statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} holds a line break or another control character, which is not accepted here")]
pub struct QuoteError {
    /// The text.
    pub text: String,
}

/// Refuses line breaks, which would begin a setting or a line of their own, and NUL, which would
/// end the text in C.
pub(crate) fn refuse_control(text: &str) -> Result<&str, QuoteError> {
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err(QuoteError {
            text: text.to_owned(),
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
/// 21.1 "The pg_hba.conf File").
pub(crate) fn quote_hba(name: &str) -> Result<String, QuoteError> {
    quote_identifier(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// PostgreSQL's own rule, the other way round (`GUC_scanstr`).
    fn unquote_setting(quoted: &str) -> String {
        let inner = quoted
            .strip_prefix('\'')
            .unwrap()
            .strip_suffix('\'')
            .unwrap();
        let mut out = String::new();
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' | '\'' => out.push(chars.next().unwrap()),
                other => out.push(other),
            }
        }
        out
    }

    proptest! {
        #[test]
        fn settings_round_trip(value in "[^\\p{Cc}]*") {
            prop_assert_eq!(unquote_setting(&quote_setting(&value).unwrap()), value);
        }

        #[test]
        fn nothing_accepted_breaks_the_line(value: String) {
            if let Ok(quoted) = quote_setting(&value) {
                prop_assert_eq!(quoted.lines().count(), 1);
            }
        }
    }

    #[test]
    fn refuses_line_breaks() {
        for value in ["a\nb", "a\rb", "a\0b"] {
            assert!(quote_setting(value).is_err());
            assert!(quote_literal(value).is_err());
            assert!(quote_identifier(value).is_err());
        }
    }
}
