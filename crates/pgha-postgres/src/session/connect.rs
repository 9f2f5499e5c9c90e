//! Opening the kept session.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio_postgres::{Config, NoTls};

use super::probe::TimelineMemory;
use super::{Session, SessionError, SessionOptions};
use crate::Version;

/// How long the request to cancel may take; it goes over a connection of its own.
const CANCEL_LIMIT: Duration = Duration::from_secs(1);

/// For the first questions: the limit of `connect` is around them.
const UNLIMITED: Duration = Duration::from_secs(3600);

/// Set in the startup packet, which beats what `ALTER ROLE` or `ALTER DATABASE` set:
/// - `search_path`: no function or operator of a user may take the place of a built-in one;
/// - no time limits of the server's: pgha has its own, and the session must survive idleness;
/// - `synchronous_commit`: pgha's own few writes must not wait for standbys that it is arranging.
const SESSION_SETTINGS: [(&str, &str); 11] = [
    ("search_path", "pg_catalog"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("synchronous_commit", "local"),
    ("default_transaction_read_only", "off"),
    ("standard_conforming_strings", "on"),
    ("bytea_output", "hex"),
    ("log_statement", "none"),
    ("log_min_duration_statement", "-1"),
    ("client_min_messages", "warning"),
];

impl Session {
    /// Opens the session within `limit`.
    pub async fn connect(options: &SessionOptions, limit: Duration) -> Result<Self, SessionError> {
        match tokio::time::timeout(limit, Self::open(options)).await {
            Ok(session) => session,
            Err(_) => Err(SessionError::Silent { waited: limit }),
        }
    }

    async fn open(options: &SessionOptions) -> Result<Self, SessionError> {
        let (client, connection) = config(options)
            .connect(NoTls)
            .await
            .map_err(SessionError::of_connect)?;
        tokio::spawn(async move {
            // Its end is seen by the next statement; what it says is logged once.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "session to the local PostgreSQL ended");
            }
        });
        let version = Version { major: 0, minor: 0 };
        let mut session = Self {
            client,
            options: options.clone(),
            version,
            timeline: TimelineMemory::default(),
            cancelling: Mutex::new(None),
        };
        session.version = session.ask_version().await?;
        session.lift_newer_limits().await?;
        Ok(session)
    }

    /// Settings that older versions do not know, where the startup packet would be refused. An
    /// idle timeout of the users' would end the one session that has to be there when no other can
    /// be had.
    async fn lift_newer_limits(&self) -> Result<(), SessionError> {
        let known = [(14, "idle_session_timeout"), (17, "transaction_timeout")];
        for (_, name) in known
            .into_iter()
            .filter(|(since, _)| self.version.major >= *since)
        {
            self.query(&format!("SET {name} = 0"), UNLIMITED).await?;
        }
        Ok(())
    }

    async fn ask_version(&self) -> Result<Version, SessionError> {
        let sql = "SELECT pg_catalog.current_setting('server_version_num')";
        let text = self.value(sql, UNLIMITED).await?.unwrap_or_default();
        let number = text
            .parse()
            .map_err(|_| SessionError::unexpected(format!("version {text}")))?;
        Ok(Version::from_number(number))
    }

    pub(super) fn cancel_in_background(&self) {
        let token = self.client.cancel_token();
        let task = tokio::spawn(async move {
            // Best effort: where it fails the statement ends by itself, or with PostgreSQL.
            let _ = tokio::time::timeout(CANCEL_LIMIT, token.cancel_query(NoTls)).await;
        });
        *self
            .cancelling
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(task);
    }
}

fn config(options: &SessionOptions) -> Config {
    let settings = SESSION_SETTINGS.map(|(name, value)| format!("-c {name}={value}"));
    let mut config = Config::new();
    config
        .host_path(&options.socket_dir)
        .port(options.port)
        .user(&options.superuser)
        .dbname("postgres")
        .application_name("pgha")
        .options(settings.join(" "));
    config
}
