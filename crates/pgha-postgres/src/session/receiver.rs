//! The WAL receiver: pointing it somewhere, cutting it, and what it leaves.

use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgha_core::Lsn;
use tokio::time::Instant;

use super::reload::ReloadError;
use super::{Session, SessionError};
use crate::config::{ManagedSettings, Upstream};

const POLL: Duration = Duration::from_millis(4);
/// Looks at a busy startup process, one poll apart, that must find no receiver.
const CALM_LOOKS: u32 = 4;

/// The receiver was not cut: nothing may be reported.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// The empty `primary_conninfo` did not act.
    #[error(transparent)]
    Reload(#[from] ReloadError),
    /// PostgreSQL did not answer.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// It lives on.
    #[error("the WAL receiver is still there {waited:?} after its end was ordered: {last}")]
    StillThere {
        /// How long it was waited.
        waited: Duration,
        /// What was last seen.
        last: String,
    },
}

/// Where the WAL of a standby without a receiver ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndOfWal {
    /// Here.
    Known(Lsn),
    /// Replay has not come to the end of `pg_wal` yet; it is at this point and waits for this.
    Replaying {
        /// How far it is.
        at: Lsn,
        /// The wait event of the startup process, none while it works.
        waits_for: Option<String>,
    },
}

struct Look {
    receivers: Vec<i32>,
    receive: Option<Lsn>,
    replay: Option<Lsn>,
    wait: Option<String>,
}

impl Look {
    /// In this sleep the startup process has found nothing more in `pg_wal`, and it handles a
    /// reload before it asks for a new receiver.
    fn has_read_all(&self) -> bool {
        self.wait.as_deref() == Some("RecoveryRetrieveRetryInterval")
    }

    /// It waits for a stream: one may be about to start that is not among the processes yet.
    fn expects_stream(&self) -> bool {
        self.wait.as_deref() == Some("RecoveryWalStream")
    }
}

impl Session {
    /// Points the standby to another upstream, or to none. `settings` is changed accordingly.
    pub async fn set_upstream(
        &self,
        data_dir: &Path,
        settings: &mut ManagedSettings,
        upstream: Option<Upstream>,
        limit: Duration,
    ) -> Result<(), ReloadError> {
        settings.upstream = upstream;
        self.apply_quickly(data_dir, settings, limit).await
    }

    /// Ends the WAL receiver for certain: empty `primary_conninfo`, flushed and reloaded, then
    /// SIGTERM by process number until there is none. The reload alone leaves it alive where
    /// replay waits for a reader, and it would go on acknowledging to the old primary. SQL cannot
    /// end it: `pg_terminate_backend` knows no receivers.
    pub async fn cut_receiver(
        &self,
        data_dir: &Path,
        settings: &mut ManagedSettings,
        limit: Duration,
    ) -> Result<(), CutError> {
        let deadline = Instant::now() + limit;
        self.set_upstream(data_dir, settings, None, limit).await?;
        let mut calm = 0;
        loop {
            let look = self.look(limit).await?;
            if look.receivers.is_empty() && look.has_read_all() {
                return Ok(());
            }
            calm = if look.receivers.is_empty() && !look.expects_stream() {
                calm + 1
            } else {
                0
            };
            if calm >= CALM_LOOKS {
                return Ok(());
            }
            for pid in &look.receivers {
                terminate(*pid)?;
            }
            if Instant::now() >= deadline {
                let last = format!(
                    "processes {:?}, startup waits for {:?}",
                    look.receivers, look.wait
                );
                return Err(CutError::StillThere {
                    waited: limit,
                    last,
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Where the WAL of this standby ends. Only of use after `cut_receiver`. What was received in
    /// this run is known at once; after a restart nothing was, and the end is where replay has
    /// read all of `pg_wal`.
    pub async fn end_of_wal(&self, limit: Duration) -> Result<EndOfWal, SessionError> {
        let look = self.look(limit).await?;
        let at = look.receive.max(look.replay).unwrap_or(Lsn::ZERO);
        if look.receive.is_some() || look.has_read_all() {
            return Ok(EndOfWal::Known(at));
        }
        Ok(EndOfWal::Replaying {
            at,
            waits_for: look.wait,
        })
    }

    /// Where the last whole record of this standby ends, once replay has read all there is; `None`
    /// before. This is where a promotion would branch off. `end_of_wal` may be further: a primary
    /// flushes and sends whole pages, so the last record may have come in part.
    pub async fn end_of_records(&self, limit: Duration) -> Result<Option<Lsn>, SessionError> {
        let look = self.look(limit).await?;
        Ok(look.replay.filter(|_| look.has_read_all()))
    }

    async fn look(&self, limit: Duration) -> Result<Look, SessionError> {
        let sql = "SELECT pg_catalog.pg_last_wal_receive_lsn() AS receive, \
             pg_catalog.pg_last_wal_replay_lsn() AS replay, \
             (SELECT pg_catalog.string_agg(pid::text, ' ') FROM pg_catalog.pg_stat_get_activity(NULL) \
               WHERE backend_type = 'walreceiver') AS receivers, \
             (SELECT pg_catalog.min(wait_event) FROM pg_catalog.pg_stat_get_activity(NULL) \
               WHERE backend_type = 'startup') AS wait";
        let rows = self.rows(sql, limit).await?;
        let row = rows.one()?;
        let receivers = row.text("receivers").unwrap_or_default();
        let receivers: Result<_, _> = receivers.split_whitespace().map(str::parse).collect();
        Ok(Look {
            receivers: receivers
                .map_err(|_| SessionError::unexpected("a process that is no number"))?,
            receive: row.optional("receive")?,
            replay: row.optional("replay")?,
            wait: row.text("wait").map(str::to_owned),
        })
    }
}

fn terminate(pid: i32) -> Result<(), SessionError> {
    match kill(Pid::from_raw(pid), Signal::SIGTERM) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(SessionError::unexpected(format!(
            "cannot signal process {pid}: {error}"
        ))),
    }
}
