//! The session that a sidecar keeps to its own PostgreSQL, and what it says there.
//!
//! Over the unix socket as the superuser, and kept open: with all connections taken a new one
//! fails while an open one still answers within a millisecond. Every query has a limit and is
//! cancelled when it passes; the session itself is kept.

mod actions;
mod connect;
mod door;
mod error;
mod fork;
mod identify;
mod logins;
mod probe;
mod probe_sql;
mod promote;
mod receiver;
mod reload;
mod roles;
mod rows;
mod slots;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub use actions::SessionFilter;
pub use door::{Knock, knock};
pub use error::SessionError;
pub use fork::{ForkRowError, fork_row_name};
pub use identify::Identity;
pub use probe::{Probe, Receiver, Slot, WalSender};
pub use promote::PromoteError;
pub use receiver::{CutError, EndOfWal};
pub use reload::{ReloadError, ReloadReport};
pub use slots::{SlotPosition, SlotSpec};
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::Version;
use rows::{Rows, split};

/// How to reach the local PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOptions {
    /// Directory of the unix socket.
    pub socket_dir: PathBuf,
    /// Port, which names the socket.
    pub port: u16,
    /// The superuser.
    pub superuser: String,
}

/// The kept session.
pub struct Session {
    client: Client,
    options: SessionOptions,
    version: Version,
    timeline: probe::TimelineMemory,
    cancelling: Mutex<Option<JoinHandle<()>>>,
}

impl Session {
    /// The server's version.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Whether the connection is gone: PostgreSQL ended it, or itself.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Runs statements and returns the rows of each. On timeout the statement is cancelled and
    /// the session stays usable.
    pub(crate) async fn query(
        &self,
        sql: &str,
        limit: Duration,
    ) -> Result<Vec<Rows>, SessionError> {
        match tokio::time::timeout(limit, self.send(sql)).await {
            Ok(Ok(messages)) => Ok(split(messages)),
            Ok(Err(error)) => Err(SessionError::of_query(error, self.is_closed())),
            Err(_) => {
                self.cancel_in_background();
                Err(SessionError::Silent { waited: limit })
            }
        }
    }

    /// A cancel request hits whatever runs when it arrives, so nothing new is sent before it has;
    /// and should one arrive later still, what it ended did not happen and is sent once more.
    async fn send(&self, sql: &str) -> Result<Vec<SimpleQueryMessage>, tokio_postgres::Error> {
        self.await_cancel().await;
        match self.client.simple_query(sql).await {
            Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => {
                self.client.simple_query(sql).await
            }
            other => other,
        }
    }

    async fn await_cancel(&self) {
        let running = self
            .cancelling
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(running) = running {
            // Its only way to fail is the end of the runtime.
            let _ = running.await;
        }
    }

    /// One statement, whose rows are returned.
    pub(crate) async fn rows(&self, sql: &str, limit: Duration) -> Result<Rows, SessionError> {
        let mut results = self.query(sql, limit).await?;
        results
            .pop()
            .ok_or_else(|| SessionError::unexpected("an answer without a result"))
    }

    /// One statement with one row and one column.
    pub(crate) async fn value(
        &self,
        sql: &str,
        limit: Duration,
    ) -> Result<Option<String>, SessionError> {
        Ok(self
            .rows(sql, limit)
            .await?
            .first()
            .and_then(|row| row.first_text().map(str::to_owned)))
    }
}
