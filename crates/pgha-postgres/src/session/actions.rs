//! Shorter orders: checkpoint, barrier, ending sessions.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Session, SessionError};
use crate::config::quote_literal;

/// Which sessions to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionFilter {
    /// All of clients.
    Clients,
    /// Clients outside a transaction.
    IdleClients,
    /// WAL senders by their application name, base backups included.
    WalSenders(String),
}

impl Session {
    /// A checkpoint; on a standby a restartpoint.
    pub async fn checkpoint(&self, limit: Duration) -> Result<(), SessionError> {
        self.query("CHECKPOINT", limit).await.map(|_| ())
    }

    /// Makes certain that every backend acts on the newly loaded `synchronous_standby_names`:
    /// whether they wait at all is a flag that the checkpointer sets on its own reload. It is told
    /// again by process number, and a checkpoint after that proves that it has looked.
    pub async fn synchronous_barrier(&self, limit: Duration) -> Result<(), SessionError> {
        let sql = "SELECT pid FROM pg_catalog.pg_stat_get_activity(NULL) WHERE backend_type = 'checkpointer'";
        let pid = self.rows(sql, limit).await?.one()?.required("pid")?;
        match kill(Pid::from_raw(pid), Signal::SIGHUP) {
            Ok(()) | Err(Errno::ESRCH) => self.checkpoint(limit).await,
            Err(error) => Err(SessionError::unexpected(format!(
                "cannot signal the checkpointer {pid}: {error}"
            ))),
        }
    }

    /// Ends sessions; not this one. Returns how many were told to.
    pub async fn terminate_sessions(
        &self,
        filter: &SessionFilter,
        limit: Duration,
    ) -> Result<u64, SessionError> {
        let condition = match filter {
            SessionFilter::Clients => "backend_type = 'client backend'".to_owned(),
            SessionFilter::IdleClients => {
                "backend_type = 'client backend' AND state = 'idle'".to_owned()
            }
            SessionFilter::WalSenders(name) => {
                format!(
                    "backend_type = 'walsender' AND application_name = {}",
                    quote_literal(name)?
                )
            }
        };
        let sql = format!(
            "SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid)) \
             FROM pg_catalog.pg_stat_get_activity(NULL) \
             WHERE pid <> pg_catalog.pg_backend_pid() AND {condition}"
        );
        let count = self
            .value(&sql, limit)
            .await?
            .and_then(|text| text.parse().ok());
        Ok(count.unwrap_or(0))
    }
}
