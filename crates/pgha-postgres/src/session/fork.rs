//! Fork rows: what tells twins apart. Each promotion stores its fork id as a replication origin:
//! a row of a shared catalog, so it is in every database and on every standby, and in no user's
//! way (manual, chapter "Replication Progress Tracking").

use std::time::Duration;

use pgha_core::{ForkId, Lsn, TimelineId};
use tokio_postgres::error::SqlState;

use super::{Session, SessionError};
use crate::config::quote_literal;

const PREFIX: &str = "pgha_fork_";
const ID_CHARS_MAX: usize = 64;

/// A fork row could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum ForkRowError {
    /// The id is no name.
    #[error("fork id `{0}` cannot be stored: 1 to 64 letters, digits, - and _ are accepted")]
    Id(ForkId),
    /// PostgreSQL did not answer.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// The name of the replication origin that stores a fork id.
pub fn fork_row_name(timeline: TimelineId, fork: &ForkId) -> Result<String, ForkRowError> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let id = fork.as_str();
    if id.is_empty() || id.len() > ID_CHARS_MAX || !id.chars().all(good) {
        return Err(ForkRowError::Id(fork.clone()));
    }
    Ok(format!("{PREFIX}{timeline}_{id}"))
}

fn parse_fork_row(name: &str) -> Option<(TimelineId, ForkId)> {
    let (timeline, id) = name.strip_prefix(PREFIX)?.split_once('_')?;
    Some((TimelineId(timeline.parse().ok()?), ForkId::from(id)))
}

impl Session {
    /// Stores the fork id, flushed on this node; standbys are not waited for. Storing it again is
    /// fine. Returns the end of WAL after it.
    pub async fn create_fork_row(
        &self,
        timeline: TimelineId,
        fork: &ForkId,
        limit: Duration,
    ) -> Result<Lsn, ForkRowError> {
        let name = quote_literal(&fork_row_name(timeline, fork)?).map_err(SessionError::from)?;
        let create = format!("SELECT pg_catalog.pg_replication_origin_create({name})");
        match self.query(&create, limit).await {
            Err(error)
                if !error.is_code(&SqlState::UNIQUE_VIOLATION)
                    && !error.is_code(&SqlState::DUPLICATE_OBJECT) =>
            {
                return Err(error.into());
            }
            Ok(_) | Err(_) => (),
        }
        Ok(self.flush_lsn(limit).await?)
    }

    /// All fork ids that this PostgreSQL has stored or replayed.
    pub async fn fork_rows(
        &self,
        limit: Duration,
    ) -> Result<Vec<(TimelineId, ForkId)>, SessionError> {
        let sql = "SELECT roname FROM pg_catalog.pg_replication_origin \
                   WHERE pg_catalog.starts_with(roname, 'pgha_fork_') ORDER BY roname";
        let names = self.rows(sql, limit).await?.first_column();
        let mut rows: Vec<_> = names
            .iter()
            .filter_map(|name| parse_fork_row(name))
            .collect();
        rows.sort();
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_round_trip(timeline: u32, id in "[A-Za-z0-9_-]{1,64}") {
            let (timeline, fork) = (TimelineId(timeline), ForkId::from(id));
            let name = fork_row_name(timeline, &fork).unwrap();
            prop_assert_eq!(parse_fork_row(&name), Some((timeline, fork)));
        }
    }

    #[test]
    fn refuses_ids_that_are_no_names() {
        for id in ["", "a b", "a'b", &"x".repeat(65)] {
            assert!(
                fork_row_name(TimelineId(1), &ForkId::from(id)).is_err(),
                "{id}"
            );
        }
        assert_eq!(parse_fork_row("pgha_fork_x_y"), None);
        assert_eq!(parse_fork_row("somebody_elses"), None);
    }
}
