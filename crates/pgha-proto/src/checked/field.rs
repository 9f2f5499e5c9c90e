//! Single fields, and how one is refused.

use pgha_core::{RaftId, StoreId};

/// A field of a message that cannot be what it says it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}` is {value}, expected {expected}")]
pub struct FieldError {
    /// Path of the field in its message.
    pub field: &'static str,
    /// What was found there.
    pub value: String,
    /// What would have been accepted.
    pub expected: &'static str,
}

/// A field that has to be there is not.
pub fn missing(field: &'static str) -> FieldError {
    FieldError {
        field,
        value: "missing".to_owned(),
        expected: "a value",
    }
}

/// A member's Raft id: never 0, which is what a missing number reads as.
pub fn raft_id(field: &'static str, value: u64) -> Result<RaftId, FieldError> {
    if value == 0 {
        return Err(FieldError {
            field,
            value: "0".to_owned(),
            expected: "a Raft id above 0",
        });
    }
    Ok(RaftId(value))
}

/// The id of a store: never empty.
pub fn store_id(field: &'static str, value: &str) -> Result<StoreId, FieldError> {
    text(field, value).map(StoreId)
}

/// Identifiers are printed in logs and used in names: short, and without control characters.
pub(super) fn text(field: &'static str, value: &str) -> Result<String, FieldError> {
    const LENGTH_MAX: usize = 128;
    let good = !value.is_empty()
        && value.len() <= LENGTH_MAX
        && value.chars().all(|c| !c.is_control() && !c.is_whitespace());
    if good {
        return Ok(value.to_owned());
    }
    Err(FieldError {
        field,
        value: format!("{:?}", value.chars().take(40).collect::<String>()),
        expected: "1 to 128 bytes without blanks or control characters",
    })
}
