//! Physical replication slots, named by timeline and member: `pgha_t4_n2`.

use std::collections::BTreeSet;
use std::time::Duration;

use pgha_core::Lsn;
use tokio::time::Instant;
use tokio_postgres::error::SqlState;

use super::{Session, SessionError};
use crate::config::quote_literal;

const POLL: Duration = Duration::from_millis(10);

/// A slot that should be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotSpec {
    /// Its name.
    pub name: String,
    /// WAL before this point is not needed: where its member is known to be.
    pub keep_from: Option<Lsn>,
}

/// A slot that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotPosition {
    /// Its name.
    pub name: String,
    /// WAL is kept from here on.
    pub restart: Option<Lsn>,
}

impl Session {
    /// Makes the slots that are missing, reserving WAL at once, and moves all to their points. A
    /// new slot reserves from the last checkpoint or restartpoint; a point before that cannot be
    /// had, the answer tells. Works on a standby, so that they are there before its promotion.
    pub async fn ensure_slots(
        &self,
        wanted: &[SlotSpec],
        limit: Duration,
    ) -> Result<Vec<SlotPosition>, SessionError> {
        let mut positions = Vec::new();
        for slot in wanted {
            let name = quote_literal(&slot.name)?;
            let create =
                format!("SELECT pg_catalog.pg_create_physical_replication_slot({name}, true)");
            match self.query(&create, limit).await {
                Err(error) if !error.is_code(&SqlState::DUPLICATE_OBJECT) => return Err(error),
                Ok(_) | Err(_) => (),
            }
            if let Some(keep_from) = slot.keep_from {
                self.advance_slot(&slot.name, keep_from, limit).await?;
            }
            positions.push(SlotPosition {
                name: slot.name.clone(),
                restart: self.slot_restart(&name, limit).await?,
            });
        }
        Ok(positions)
    }

    /// Lets go of WAL before `to`. Never backwards; one that is in use moves by itself and is left
    /// alone.
    pub async fn advance_slot(
        &self,
        name: &str,
        to: Lsn,
        limit: Duration,
    ) -> Result<(), SessionError> {
        let name = quote_literal(name)?;
        // Beyond its own end PostgreSQL would refuse, so it is asked for no more than that.
        let sql = format!(
            "SELECT pg_catalog.pg_replication_slot_advance(s.slot_name, least('{to}'::pg_lsn, e.lsn)) \
             FROM pg_catalog.pg_get_replication_slots() AS s, \
              (SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() \
                ELSE pg_catalog.pg_current_wal_flush_lsn() END AS lsn OFFSET 0) AS e \
             WHERE s.slot_name = {name} AND NOT s.active AND s.restart_lsn < '{to}'::pg_lsn"
        );
        match self.query(&sql, limit).await {
            Err(error) if !error.is_code(&SqlState::OBJECT_IN_USE) => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Drops pgha's physical slots that are not in `keep`: those of earlier timelines and of
    /// members that left, which would fill the disk. Whoever reads one is disconnected: it is on a
    /// line of the past. Other slots are never touched. Returns the names.
    pub async fn drop_slots_except(
        &self,
        prefix: &str,
        keep: &BTreeSet<String>,
        limit: Duration,
    ) -> Result<Vec<String>, SessionError> {
        let deadline = Instant::now() + limit;
        let sql = format!(
            "SELECT slot_name FROM pg_catalog.pg_get_replication_slots() \
             WHERE slot_type = 'physical' AND pg_catalog.starts_with(slot_name::text, {})",
            quote_literal(prefix)?
        );
        let mut dropped = Vec::new();
        for name in self.rows(&sql, limit).await?.first_column() {
            if !keep.contains(&name) {
                self.drop_slot(&name, deadline, limit).await?;
                dropped.push(name);
            }
        }
        Ok(dropped)
    }

    async fn drop_slot(
        &self,
        name: &str,
        deadline: Instant,
        limit: Duration,
    ) -> Result<(), SessionError> {
        let name = quote_literal(name)?;
        let end = format!(
            "SELECT pg_catalog.pg_terminate_backend(active_pid) \
             FROM pg_catalog.pg_get_replication_slots() WHERE slot_name = {name} AND active"
        );
        let drop = format!(
            "SELECT pg_catalog.pg_drop_replication_slot(slot_name) \
             FROM pg_catalog.pg_get_replication_slots() WHERE slot_name = {name}"
        );
        loop {
            self.query(&end, limit).await?;
            match self.query(&drop, limit).await {
                Err(error)
                    if error.is_code(&SqlState::OBJECT_IN_USE) && Instant::now() < deadline =>
                {
                    tokio::time::sleep(POLL).await;
                }
                other => return other.map(|_| ()),
            }
        }
    }

    async fn slot_restart(
        &self,
        quoted: &str,
        limit: Duration,
    ) -> Result<Option<Lsn>, SessionError> {
        let sql = format!(
            "SELECT restart_lsn FROM pg_catalog.pg_get_replication_slots() WHERE slot_name = {quoted}"
        );
        self.rows(&sql, limit).await?.one()?.optional("restart_lsn")
    }
}
