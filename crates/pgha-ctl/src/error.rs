//! How a command ends when it does not end well, and the exit code that tells it to scripts.

use std::fmt;
use std::io;

use crate::endpoint::Endpoint;

/// Done.
pub(crate) const EXIT_DONE: u8 = 0;

/// Split by exit code: that is what a script acts on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CtlError {
    /// The cluster refused, or tried and failed.
    #[error("{0}")]
    Refused(String),
    /// A missing argument or confirmation.
    #[error("{0}")]
    Usage(String),
    /// No endpoint answered.
    #[error("no endpoint answers: {}; give the address of a living member with --endpoint HOST:PORT or PGHA_ENDPOINTS", Failures(.0))]
    Unreachable(Vec<(Endpoint, String)>),
    /// The change was submitted and may or may not have happened.
    #[error(
        "{0}; the outcome is unknown: see `pgha-ctl status` and `pgha-ctl history` before you repeat it"
    )]
    OutcomeUnknown(String),
    /// Standard output does not take what is written; a closed pipe is no failure.
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
}

impl CtlError {
    /// The documented exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => EXIT_DONE,
            Self::Refused(_) | Self::Output(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
            Self::OutcomeUnknown(_) => 4,
        }
    }
}

struct Failures<'a>(&'a [(Endpoint, String)]);

impl fmt::Display for Failures<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (endpoint, why)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{endpoint} ({why})")?;
        }
        Ok(())
    }
}
