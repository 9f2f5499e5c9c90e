//! Changing settings while PostgreSQL runs.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::{Session, SessionError};
use crate::config::{ManagedError, ManagedSettings, UserParameters, quote_literal};

const POLL: Duration = Duration::from_millis(3);

/// What a reload achieved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReloadReport {
    /// Parameters whose new value acts only after a restart.
    pub pending_restart: Vec<String>,
    /// Parameters whose value PostgreSQL does not accept; the others act. It would not start with
    /// them: `check_parameters` finds them before they are committed.
    pub refused: Vec<String>,
}

/// Settings were not applied.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// `pgha.conf` could not be written.
    #[error(transparent)]
    Write(#[from] ManagedError),
    /// PostgreSQL did not answer.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// It was told, and acts on the old file still.
    #[error(
        "PostgreSQL did not take the new settings within {waited:?}; it takes no file with an \
         error in it: {problems}"
    )]
    NotTaken {
        /// How long it was waited.
        waited: Duration,
        /// What `pg_file_settings` says.
        problems: String,
    },
}

impl Session {
    /// Writes `pgha.conf`, durably, and makes PostgreSQL act on it. When this returns the
    /// postmaster has told all its processes; each acts on it when it next looks.
    pub async fn apply(
        &self,
        data_dir: &Path,
        settings: &ManagedSettings,
        limit: Duration,
    ) -> Result<ReloadReport, ReloadError> {
        let deadline = Instant::now() + limit;
        let revision = settings.write(data_dir)?;
        self.reload_until(&revision, deadline, limit).await?;
        Ok(self.report(&settings.parameters, limit).await?)
    }

    /// Writes and reloads without asking for what is pending: for what has to be quick.
    pub(super) async fn apply_quickly(
        &self,
        data_dir: &Path,
        settings: &ManagedSettings,
        limit: Duration,
    ) -> Result<(), ReloadError> {
        let deadline = Instant::now() + limit;
        let revision = settings.write(data_dir)?;
        self.reload_until(&revision, deadline, limit).await
    }

    /// Makes PostgreSQL read its files again, client authentication included.
    pub async fn reload(&self, limit: Duration) -> Result<(), SessionError> {
        self.value("SELECT pg_catalog.pg_reload_conf()", limit)
            .await
            .map(|_| ())
    }

    async fn reload_until(
        &self,
        revision: &str,
        deadline: Instant,
        limit: Duration,
    ) -> Result<(), ReloadError> {
        self.reload(limit).await?;
        // The postmaster reads the file first and then tells its processes, this session's among
        // them: once it shows the new revision the signals are on their way.
        let sql = "SELECT pg_catalog.current_setting('pgha.revision', true)";
        while self.value(sql, limit).await?.as_deref() != Some(revision) {
            if Instant::now() >= deadline {
                let problems = self.problems(limit).await?.join("; ");
                return Err(ReloadError::NotTaken {
                    waited: limit,
                    problems,
                });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn problems(&self, limit: Duration) -> Result<Vec<String>, SessionError> {
        let sql = "SELECT pg_catalog.format('%s line %s, %s: %s', sourcefile, sourceline, name, error) \
                   FROM pg_catalog.pg_show_all_file_settings() WHERE error IS NOT NULL";
        Ok(self.rows(sql, limit).await?.first_column())
    }

    async fn report(
        &self,
        parameters: &UserParameters,
        limit: Duration,
    ) -> Result<ReloadReport, SessionError> {
        let sql = "SELECT name FROM pg_catalog.pg_settings WHERE pending_restart ORDER BY name";
        let pending_restart = self.rows(sql, limit).await?.first_column();
        let mut refused = self.refused(parameters, limit).await?;
        // PostgreSQL has one word for both.
        refused.retain(|name| !pending_restart.contains(name));
        Ok(ReloadReport {
            pending_restart,
            refused,
        })
    }

    /// Users' parameters whose value could not be applied.
    async fn refused(
        &self,
        parameters: &UserParameters,
        limit: Duration,
    ) -> Result<Vec<String>, SessionError> {
        let names: Result<Vec<_>, _> = parameters
            .iter()
            .map(|(name, _)| quote_literal(name))
            .collect();
        let names = names?;
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT DISTINCT name FROM pg_catalog.pg_show_all_file_settings() \
             WHERE error IS NOT NULL AND name IN ({}) ORDER BY name",
            names.join(", ")
        );
        Ok(self.rows(&sql, limit).await?.first_column())
    }
}
