//! Why a configuration is refused. Each message is one line that names key, value and what is accepted.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// Nobody gave it.
    Default,
    /// The configuration file.
    File,
    /// A variable of the environment.
    Environment,
    /// The command line.
    Flag,
}

impl Source {
    /// The word in reports.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "env",
            Self::Flag => "flag",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The configuration is refused; nothing was touched and no port was bound.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("{key} = {path:?} cannot be read: {error}; expected a readable file")]
    Unreadable {
        /// Key that names the file.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's word.
        error: io::Error,
    },
    /// The file is not YAML.
    #[error("configuration file {path:?}: {what}; expected YAML such as `cluster: main`")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line.
        what: String,
    },
    /// No such key.
    #[error("configuration file {path:?}: unknown key `{key}`{hint}; accepted are: {accepted}")]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key as written.
        key: String,
        /// `, did you mean ...?` or nothing.
        hint: String,
        /// All keys of that section.
        accepted: String,
    },
    /// A value that is not accepted.
    #[error("{key} = {value:?} (from {origin}) is refused: {accepted}")]
    Value {
        /// The key in the file's notation.
        key: &'static str,
        /// The value as given.
        value: String,
        /// Who gave it.
        origin: Source,
        /// What is accepted, or the way out.
        accepted: String,
    },
    /// The value's type does not fit, or values contradict each other.
    #[error("{key}: {what}")]
    Refused {
        /// The key in the file's notation.
        key: &'static str,
        /// What is wrong and the way out.
        what: String,
    },
    /// A variable that is not text.
    #[error("environment variable {variable} is not UTF-8; write it as plain text")]
    NotText {
        /// The variable.
        variable: String,
    },
    /// The process runs as root.
    #[error(
        "user root is refused, because PostgreSQL refuses it too: run pgha as the user that owns the data, \
         for example `setpriv --reuid postgres --regid postgres --init-groups pgha run`, or `User=postgres` in systemd"
    )]
    Root,
}
