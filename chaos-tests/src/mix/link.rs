//! One session, whichever library holds it.

use std::time::Duration;

use crate::mix::libpq::Psql;
use crate::sql::{Session, Target};

/// Which library speaks to the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Driver {
    /// PostgreSQL's own, inside psql.
    Libpq,
    /// tokio-postgres.
    TokioPostgres,
}

/// How a statement, or the connection, failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// SQLSTATE where the server said one.
    pub(super) code: Option<String>,
    /// In words.
    pub(super) text: String,
}

impl Failure {
    /// psql was interrupted before it had sent the statement: it ends without a word.
    pub(super) fn came_too_early(&self) -> bool {
        self.code.is_none() && self.text.trim().is_empty()
    }

    /// Nobody answered, and nobody broke it off.
    pub(super) fn hangs(&self) -> bool {
        self.text.starts_with("HANGS")
    }
}

/// A session.
pub(super) enum Link {
    Psql(Psql),
    Tokio(Session, Target),
}

/// A statement that is neither answered nor broken off within this is a hang.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// A session that takes no statement has ended, or is about to.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(5);

impl Link {
    /// Connects; a held connection is waited for up to `patience`.
    pub(super) async fn open(
        driver: Driver,
        target: &Target,
        patience: Duration,
    ) -> Result<Self, Failure> {
        match driver {
            Driver::Libpq => Psql::open(target, patience).await.map(Self::Psql),
            Driver::TokioPostgres => match target.connect(patience).await {
                Ok(session) => Ok(Self::Tokio(session, target.clone())),
                Err(error) => Err(Failure {
                    code: error.code().map(str::to_owned),
                    text: error.to_string(),
                }),
            },
        }
    }

    /// Runs one statement; the first column of its rows.
    pub(super) async fn run(&mut self, sql: &str) -> Result<Vec<String>, Failure> {
        let answer = tokio::time::timeout(ANSWER_WITHIN, self.ask(sql)).await;
        answer.unwrap_or_else(|_| {
            Err(Failure {
                code: None,
                text: format!("HANGS for {ANSWER_WITHIN:?}: {sql}"),
            })
        })
    }

    async fn ask(&mut self, sql: &str) -> Result<Vec<String>, Failure> {
        match self {
            Self::Psql(psql) => psql.run(sql).await,
            Self::Tokio(session, _) => match session.client().simple_query(sql).await {
                Ok(messages) => Ok(messages.iter().filter_map(first_column).collect()),
                Err(error) => Err(broken_off(session, &error).await),
            },
        }
    }

    /// What cancels the statement that runs on this session, from beside it.
    pub(super) fn canceller(&self) -> Canceller {
        match self {
            Self::Psql(psql) => Canceller::Interrupt(psql.pid()),
            Self::Tokio(session, target) => {
                Canceller::Request(Box::new((session.client().cancel_token(), target.clone())))
            }
        }
    }
}

/// What a server says between two statements is heard by whoever drives the session.
async fn broken_off(session: &mut Session, error: &tokio_postgres::Error) -> Failure {
    let last_words = match error.code() {
        Some(_) => None,
        None => session.ended(LAST_WORDS_WITHIN).await.ok().flatten(),
    };
    let said = last_words.as_ref().unwrap_or(error);
    Failure {
        code: said.code().map(|state| state.code().to_owned()),
        text: said.to_string(),
    }
}

fn first_column(message: &tokio_postgres::SimpleQueryMessage) -> Option<String> {
    match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }
}

/// Sends a cancel request; whether it arrives is seen on the statement.
pub(super) enum Canceller {
    Interrupt(Option<i32>),
    Request(Box<(tokio_postgres::CancelToken, Target)>),
}

impl Canceller {
    pub(super) async fn send(&self) {
        match self {
            // psql answers the signal with a cancel request on a connection of its own.
            Self::Interrupt(pid) => {
                if let Some(pid) = pid {
                    crate::process::signal(*pid, nix::sys::signal::Signal::SIGINT);
                }
            }
            Self::Request(request) => request.1.cancel(&request.0).await,
        }
    }
}
