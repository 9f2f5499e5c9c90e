//! Cuts the receiver and reads how far the data is.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use pgha_core::decide::JobDone;
use pgha_core::lineage::Position;
use pgha_guard::clock;
use pgha_postgres::session::EndOfWal;
use pgha_postgres::{Session, timeline};

use crate::server::{STATEMENT_MAX, Worker};

const CUT_MAX: Duration = Duration::from_secs(5);
/// Replay of what is in `pg_wal` may take this long before the job is given up and begun again.
const REPLAY_MAX: Duration = Duration::from_secs(60);
/// What was received is replayed within this, unless a reader is in the way.
const CATCH_UP_MAX: Duration = Duration::from_millis(150);
const POLL: Duration = Duration::from_millis(2);

/// Ends the receiver for certain, then reads what is there.
pub(super) async fn settle(worker: &Worker) -> anyhow::Result<JobDone> {
    let mut desk = worker.desk().await;
    let data_dir = worker.site().layout.data_dir.clone();
    let mut settings = desk.settings.clone();
    let session = desk.session().await?;
    session
        .cut_receiver(&data_dir, &mut settings, CUT_MAX)
        .await?;
    let position = position(session, &data_dir).await?;
    desk.settings = settings;
    Ok(JobDone::Settled {
        position,
        newest_history: timeline::newest_history(&data_dir)?,
    })
}

async fn position(session: &mut Session, data_dir: &Path) -> anyhow::Result<Position> {
    let deadline = clock::now() + REPLAY_MAX;
    let received = loop {
        match session.end_of_wal(STATEMENT_MAX).await? {
            EndOfWal::Known(end) => break end,
            EndOfWal::Replaying { at, waits_for } if clock::now() >= deadline => {
                bail!(
                    "replay of pg_wal is at {at} after {REPLAY_MAX:?} and waits for {waits_for:?}"
                )
            }
            EndOfWal::Replaying { .. } => tokio::time::sleep(POLL * 5).await,
        }
    };
    // Fork ids show only as far as replay has come, and the end of the last whole record is what a
    // promotion forks at. A reader in the way must not hold up the report, though.
    let catch_up = clock::now() + CATCH_UP_MAX;
    let probe = loop {
        let probe = session.probe(STATEMENT_MAX).await?;
        let replayed = probe.replay.unwrap_or_default();
        let all_read = probe.startup_wait.as_deref() == Some("RecoveryRetrieveRetryInterval");
        if all_read || replayed >= received || clock::now() >= catch_up {
            break (
                probe.timeline,
                if all_read {
                    replayed
                } else {
                    received.max(replayed)
                },
            );
        }
        tokio::time::sleep(POLL).await;
    };
    let fork_ids: BTreeMap<_, _> = session
        .fork_rows(STATEMENT_MAX)
        .await?
        .into_iter()
        .collect();
    Ok(Position {
        timeline: probe.0,
        end: probe.1,
        fork_ids,
        left: timeline::departures(data_dir, probe.0),
    })
}
