//! Text that must not be printed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A secret of the cluster. Serialised into the Raft log, never into a message for people.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps the clear text.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The clear text, for whoever has to present it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}
