//! What a cluster ended in, asked of PostgreSQL itself.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use pgha_core::Lsn;

use crate::cluster::Cluster;
use crate::sql::Session;
use crate::wait;

/// A digest of every row of the load and of all databases' tables that tests make.
const DIGEST: &str = "SELECT coalesce(md5(string_agg(writer || ':' || number, ',' \
     ORDER BY writer, number)), 'empty') FROM pgha_load";
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

impl Cluster {
    /// Waits until exactly one member's PostgreSQL is out of recovery, every other one streams from
    /// it on its timeline, all hold the same rows, and every read-write port leads to it. Writes
    /// must have ended. The primary's name.
    pub async fn ends_in_one_primary_and_all_streaming(
        &self,
        within: Duration,
    ) -> anyhow::Result<String> {
        wait::until("one primary and all others streaming", within, || {
            self.end_state()
        })
        .await
    }

    async fn end_state(&self) -> anyhow::Result<String> {
        let mut primaries = Vec::new();
        let mut replicas = Vec::new();
        for name in self.names() {
            let session = self.direct(&name)?.connect(CONNECT_WITHIN).await?;
            let in_recovery: bool = session.value("SELECT pg_is_in_recovery()").await?;
            if in_recovery {
                &mut replicas
            } else {
                &mut primaries
            }
            .push((name, session));
        }
        let [(primary, session)] = primaries.as_slice() else {
            let names: Vec<_> = primaries.iter().map(|(name, _)| name).collect();
            anyhow::bail!("out of recovery: {names:?}, expected one");
        };
        all_stream(session, &replicas).await?;
        for (name, replica) in &replicas {
            follows(session, replica)
                .await
                .with_context(|| name.clone())?;
        }
        same_rows(session, &replicas).await?;
        self.ports_lead_to(session).await?;
        Ok(primary.clone())
    }

    /// Every member's read-write port reaches the PostgreSQL of that session.
    async fn ports_lead_to(&self, primary: &Session) -> anyhow::Result<()> {
        let started = "SELECT pg_postmaster_start_time()::text";
        let expected: String = primary.value(started).await?;
        for name in self.names() {
            let seen: String = self.read_write(&name)?.value(started).await?;
            anyhow::ensure!(seen == expected, "the port of {name} leads elsewhere");
        }
        Ok(())
    }
}

async fn all_stream(primary: &Session, replicas: &[(String, Session)]) -> anyhow::Result<()> {
    let rows = primary
        .rows("SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'")
        .await?;
    let seen: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    let expected: BTreeSet<String> = replicas.iter().map(|(name, _)| name.clone()).collect();
    anyhow::ensure!(
        seen == expected,
        "streaming are {seen:?}, expected {expected:?}"
    );
    Ok(())
}

/// The receiver's own view, and the position: a twin also "streams".
async fn follows(primary: &Session, replica: &Session) -> anyhow::Result<()> {
    let timeline = "SELECT substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)";
    let expected: String = primary.value(timeline).await?;
    let rows = replica
        .rows("SELECT status, received_tli FROM pg_stat_wal_receiver")
        .await?;
    let row = rows.first().context("no WAL receiver")?;
    let (status, timeline): (String, Option<i32>) = (row.try_get(0)?, row.try_get(1)?);
    anyhow::ensure!(status == "streaming", "the WAL receiver is {status}");
    let seen = format!(
        "{:08X}",
        timeline.context("the receiver has received nothing")?
    );
    anyhow::ensure!(
        seen == expected,
        "receives timeline {seen}, the primary is on {expected}"
    );
    let end: String = primary
        .value("SELECT pg_current_wal_flush_lsn()::text")
        .await?;
    let replayed: String = replica
        .value("SELECT coalesce(pg_last_wal_replay_lsn(), '0/0')::text")
        .await?;
    let (end, replayed) = (Lsn::from_str(&end)?, Lsn::from_str(&replayed)?);
    anyhow::ensure!(replayed >= end, "replayed {replayed} of {end}");
    Ok(())
}

async fn same_rows(primary: &Session, replicas: &[(String, Session)]) -> anyhow::Result<()> {
    let table: Option<String> = primary
        .value("SELECT to_regclass('pgha_load')::text")
        .await?;
    if table.is_none() {
        return Ok(());
    }
    let expected: String = primary.value(DIGEST).await?;
    for (name, replica) in replicas {
        let seen: String = replica.value(DIGEST).await?;
        anyhow::ensure!(seen == expected, "{name} holds other rows than the primary");
    }
    Ok(())
}
