//! Promotion.

use std::path::Path;
use std::time::Duration;

use pgha_core::{Lsn, TimelineId};
use tokio::time::Instant;

use super::probe::timeline_of_walfile;
use super::{Session, SessionError};
use crate::timeline::{TimelineError, block_timelines, verify_promoted};

const POLL: Duration = Duration::from_millis(5);
/// Replay that stands still for so long, with sessions in its way, gets them out of it.
const PATIENCE: Duration = Duration::from_millis(60);

/// A promotion failed. It has used up its timeline.
#[derive(Debug, thiserror::Error)]
pub enum PromoteError {
    /// PostgreSQL did not answer.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The number cannot be taken, or the history is void.
    #[error(transparent)]
    Timeline(#[from] TimelineError),
    /// It is a primary already.
    #[error("PostgreSQL is not in recovery: it was promoted before, on timeline {timeline}")]
    NotInRecovery {
        /// Its timeline.
        timeline: TimelineId,
    },
    /// Not within the limit. It may still happen: stop PostgreSQL before anything else is tried.
    #[error(
        "PostgreSQL was not promoted within {waited:?}: replay is at {replay}, startup waits for {waits_for:?}"
    )]
    Late {
        /// How long it was waited.
        waited: Duration,
        /// How far replay is.
        replay: Lsn,
        /// The wait event of the startup process.
        waits_for: Option<String>,
    },
    /// PostgreSQL took another number.
    #[error("the promotion took timeline {found}, {assigned} was assigned: it is void")]
    OtherTimeline {
        /// What it took.
        found: TimelineId,
        /// What it should have.
        assigned: TimelineId,
    },
}

struct Recovery {
    over: bool,
    replay: Lsn,
    wait: Option<String>,
    timeline: Option<TimelineId>,
}

impl Session {
    /// Promotes to exactly `assigned` and verifies it. `own` is the timeline that this standby is
    /// on. Sessions that keep replay from moving are ended. Returns where the new timeline begins.
    pub async fn promote(
        &self,
        data_dir: &Path,
        own: TimelineId,
        assigned: TimelineId,
        limit: Duration,
    ) -> Result<Lsn, PromoteError> {
        let deadline = Instant::now() + limit;
        let before = self.recovery(limit).await?;
        if before.over {
            let timeline = before.timeline.unwrap_or_default();
            return Err(PromoteError::NotInRecovery { timeline });
        }
        block_timelines(data_dir, own, assigned)?;
        self.value("SELECT pg_catalog.pg_promote(false)", limit)
            .await?;
        let found = self.await_primary(before, deadline, limit).await?;
        if found != assigned {
            return Err(PromoteError::OtherTimeline { found, assigned });
        }
        Ok(verify_promoted(data_dir, own, assigned)?)
    }

    async fn await_primary(
        &self,
        mut last: Recovery,
        deadline: Instant,
        limit: Duration,
    ) -> Result<TimelineId, PromoteError> {
        let mut moved_at = Instant::now();
        loop {
            let now = self.recovery(limit).await?;
            if let Some(timeline) = now.timeline.filter(|_| now.over) {
                return Ok(timeline);
            }
            if now.replay != last.replay {
                moved_at = Instant::now();
            } else if moved_at.elapsed() >= PATIENCE {
                self.end_conflicting_sessions(now.wait.as_deref(), limit)
                    .await?;
                moved_at = Instant::now();
            }
            if Instant::now() >= deadline {
                let (replay, waits_for) = (now.replay, now.wait);
                return Err(PromoteError::Late {
                    waited: limit,
                    replay,
                    waits_for,
                });
            }
            last = now;
            tokio::time::sleep(POLL).await;
        }
    }

    async fn recovery(&self, limit: Duration) -> Result<Recovery, SessionError> {
        let sql = "SELECT NOT r AS over, pg_catalog.pg_last_wal_replay_lsn() AS replay, \
             CASE WHEN NOT r THEN pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_flush_lsn()) END AS walfile, \
             (SELECT pg_catalog.min(wait_event) FROM pg_catalog.pg_stat_get_activity(NULL) \
               WHERE backend_type = 'startup') AS wait \
             FROM (SELECT pg_catalog.pg_is_in_recovery() AS r OFFSET 0) AS recovery";
        let rows = self.rows(sql, limit).await?;
        let row = rows.one()?;
        Ok(Recovery {
            over: row.flag("over"),
            replay: row.optional("replay")?.unwrap_or(Lsn::ZERO),
            wait: row.text("wait").map(str::to_owned),
            timeline: row.text("walfile").map(timeline_of_walfile).transpose()?,
        })
    }

    /// Ends the sessions that replay waits for. For a lock they are known: whoever holds a lock on
    /// what the startup process waits for. For rows or a buffer nobody tells, so all sessions that
    /// see a snapshot go. Returns how many.
    pub async fn end_conflicting_sessions(
        &self,
        startup_wait: Option<&str>,
        limit: Duration,
    ) -> Result<u64, SessionError> {
        let mut ended = self.ended_by(BLOCKERS_BY_LOCK, limit).await?;
        let by_rows = startup_wait
            .is_some_and(|wait| wait.starts_with("RecoveryConflict") || wait == "BufferPin");
        if by_rows || ended == 0 && startup_wait_is_lock(startup_wait) {
            ended += self.ended_by(HOLDERS_OF_SNAPSHOTS, limit).await?;
        }
        if ended > 0 {
            tracing::warn!(
                ended,
                ?startup_wait,
                "ended sessions that kept replay from moving"
            );
        }
        Ok(ended)
    }

    async fn ended_by(&self, sql: &str, limit: Duration) -> Result<u64, SessionError> {
        let count = self
            .value(sql, limit)
            .await?
            .and_then(|text| text.parse().ok());
        Ok(count.unwrap_or(0))
    }
}

/// Names of lock waits are the lock's kind: `relation`, `transactionid` and so on.
fn startup_wait_is_lock(wait: Option<&str>) -> bool {
    wait.is_some_and(|wait| wait.starts_with(|c: char| c.is_ascii_lowercase()))
}

const BLOCKERS_BY_LOCK: &str = "\
SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid)) FROM (
 SELECT DISTINCT held.pid
 FROM pg_catalog.pg_lock_status() AS waits
 JOIN pg_catalog.pg_stat_get_activity(NULL) AS startup
  ON startup.pid = waits.pid AND startup.backend_type = 'startup'
 JOIN pg_catalog.pg_lock_status() AS held
  ON held.granted AND held.pid <> waits.pid AND held.locktype = waits.locktype
  AND held.database IS NOT DISTINCT FROM waits.database
  AND held.relation IS NOT DISTINCT FROM waits.relation
  AND held.objid IS NOT DISTINCT FROM waits.objid
 WHERE NOT waits.granted AND held.pid <> pg_catalog.pg_backend_pid()) AS blockers";

const HOLDERS_OF_SNAPSHOTS: &str = "\
SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid))
FROM pg_catalog.pg_stat_get_activity(NULL)
WHERE backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid()
 AND (backend_xmin IS NOT NULL OR state <> 'idle')";
