//! Why a parameter is refused, in one line that names it, its value and the way out.

use crate::config::quote::QuoteError;

/// A parameter is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("postgres.parameters.{} = {value:?} is refused: {why}", .name.escape_debug())]
pub struct ParameterError {
    /// Its name, in lower case where it is a name at all.
    pub name: String,
    /// The value, or the default's where that is what does not fit.
    pub value: String,
    /// Why, and the way out.
    pub why: ParameterRefusal,
}

/// Why a parameter is refused, and the way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterRefusal {
    /// Not a name.
    #[error("accepted as a name are up to 63 letters, digits and _, and one dot between them")]
    Name,
    /// pgha's own.
    #[error("pgha sets it itself; leave it out")]
    Owned,
    /// Would run programs.
    #[error(
        "it makes PostgreSQL run programs or load code, and whoever changes the cluster's settings could do so by it; leave it out"
    )]
    RunsCode,
    /// The value does not fit.
    #[error("accepted is {0}")]
    Value(String),
    /// The value cannot be quoted.
    #[error(transparent)]
    Quote(#[from] QuoteError),
}
