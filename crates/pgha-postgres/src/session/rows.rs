//! Rows of simple queries, all values as text.

use std::str::FromStr;

use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

use super::SessionError;

/// The rows of one statement.
#[derive(Debug, Default)]
pub(crate) struct Rows(Vec<Row>);

/// One row.
#[derive(Debug)]
pub(crate) struct Row(SimpleQueryRow);

impl Rows {
    pub(crate) fn first(&self) -> Option<&Row> {
        self.0.first()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Row> {
        self.0.iter()
    }

    pub(crate) fn one(&self) -> Result<&Row, SessionError> {
        self.first()
            .ok_or_else(|| SessionError::unexpected("no row where one was expected"))
    }

    /// The first column of every row.
    pub(crate) fn first_column(&self) -> Vec<String> {
        self.0
            .iter()
            .filter_map(|row| row.first_text().map(str::to_owned))
            .collect()
    }
}

impl Row {
    pub(crate) fn first_text(&self) -> Option<&str> {
        self.0.try_get(0).ok().flatten()
    }

    pub(crate) fn text(&self, column: &str) -> Option<&str> {
        self.0.try_get(column).ok().flatten()
    }

    /// `None` for NULL, an error for what does not parse.
    pub(crate) fn optional<T: FromStr>(&self, column: &str) -> Result<Option<T>, SessionError> {
        let Some(text) = self.text(column) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(SessionError::unexpected(format!(
                "column {column} is `{text}`"
            ))),
        }
    }

    pub(crate) fn required<T: FromStr>(&self, column: &str) -> Result<T, SessionError> {
        let missing = || SessionError::unexpected(format!("column {column} is null"));
        self.optional(column)?.ok_or_else(missing)
    }

    pub(crate) fn flag(&self, column: &str) -> bool {
        self.text(column) == Some("t")
    }
}

/// Splits the answer to several statements.
pub(crate) fn split(messages: Vec<SimpleQueryMessage>) -> Vec<Rows> {
    let mut results = Vec::new();
    let mut current = Rows::default();
    for message in messages {
        match message {
            SimpleQueryMessage::Row(row) => current.0.push(Row(row)),
            SimpleQueryMessage::CommandComplete(_) => results.push(std::mem::take(&mut current)),
            // Column descriptions come with each row; the enum is open for later additions.
            _ => (),
        }
    }
    results
}
