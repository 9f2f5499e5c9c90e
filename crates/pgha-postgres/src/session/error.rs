//! Why PostgreSQL did not answer, split by what that says about it.

use std::io;
use std::time::Duration;

use tokio_postgres::error::SqlState;

/// A session could not be opened, or a statement failed.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No socket, or nobody behind it: PostgreSQL is not running, or has not opened it yet.
    #[error("PostgreSQL refused the connection: {0}")]
    Refused(String),
    /// It runs and does not take sessions now: starting, in recovery before consistency, or
    /// stopping.
    #[error("PostgreSQL takes no sessions now: {0}")]
    Starting(String),
    /// No answer in time. It may hang, or the machine is slow: one alone proves nothing.
    #[error("PostgreSQL gave no answer within {waited:?}")]
    Silent {
        /// How long it was waited.
        waited: Duration,
    },
    /// All connections are taken. It lives.
    #[error("PostgreSQL has no free connection: {0}")]
    TooManyConnections(String),
    /// An open session was ended.
    #[error("PostgreSQL ended the session: {0}")]
    Closed(String),
    /// It answered with an error.
    #[error("PostgreSQL answered: {message}")]
    Server {
        /// The five characters of the SQLSTATE (manual, appendix A).
        code: String,
        /// The message.
        message: String,
    },
    /// It answered with something that was not asked for.
    #[error("PostgreSQL's answer is not understood: {0}")]
    Unexpected(String),
    /// A text cannot be put into a statement.
    #[error(transparent)]
    Quote(#[from] crate::config::QuoteError),
}

impl SessionError {
    pub(crate) fn unexpected(what: impl Into<String>) -> Self {
        Self::Unexpected(what.into())
    }

    pub(crate) fn of_connect(error: tokio_postgres::Error) -> Self {
        if let Some(source) = io_cause(&error) {
            return match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    Self::Refused(source.to_string())
                }
                _ => Self::Closed(source.to_string()),
            };
        }
        Self::of_server(error)
    }

    pub(crate) fn of_query(error: tokio_postgres::Error, closed: bool) -> Self {
        match error.as_db_error() {
            Some(_) => Self::of_server(error),
            None if closed || error.is_closed() || io_cause(&error).is_some() => {
                Self::Closed(error.to_string())
            }
            None => Self::Unexpected(error.to_string()),
        }
    }

    fn of_server(error: tokio_postgres::Error) -> Self {
        let Some(answer) = error.as_db_error() else {
            return if error.is_closed() {
                Self::Closed(error.to_string())
            } else {
                Self::Unexpected(error.to_string())
            };
        };
        Self::of_code(answer.code().code().to_owned(), answer.message().to_owned())
    }

    pub(crate) fn of_code(code: String, message: String) -> Self {
        let is = |state: &SqlState| state.code() == code;
        if is(&SqlState::CANNOT_CONNECT_NOW) {
            Self::Starting(message)
        } else if is(&SqlState::TOO_MANY_CONNECTIONS) {
            Self::TooManyConnections(message)
        } else if is(&SqlState::ADMIN_SHUTDOWN) || is(&SqlState::CRASH_SHUTDOWN) {
            Self::Closed(message)
        } else {
            Self::Server { code, message }
        }
    }

    /// Whether the server answered with this SQLSTATE.
    pub(crate) fn is_code(&self, state: &SqlState) -> bool {
        matches!(self, Self::Server { code, .. } if code == state.code())
    }
}

fn io_cause(error: &tokio_postgres::Error) -> Option<&io::Error> {
    std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>())
}
