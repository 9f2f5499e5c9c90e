//! The worker: everything that changes something in PostgreSQL takes its turn at its desk.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use pgha_postgres::config::ManagedSettings;
use pgha_postgres::{Session, SessionError};
use tokio::sync::{Mutex, MutexGuard, OwnedMutexGuard};

use super::Site;

const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Whoever has the data directory, and should not any more, is waited for so long: a killed program
/// is gone within half of it.
const DIRECTORY_MAX: Duration = Duration::from_secs(10);

/// The worker: everything that changes something in PostgreSQL takes its turn here.
#[derive(Clone)]
pub(crate) struct Worker {
    site: Arc<Site>,
    desk: Arc<Mutex<Desk>>,
    directory: Arc<Mutex<()>>,
    /// How long the directory is waited for.
    pub(super) patience: Duration,
}

/// What the one at work has in hand.
pub(crate) struct Desk {
    pub(super) site: Arc<Site>,
    pub(super) session: Option<Session>,
    pub(crate) settings: ManagedSettings,
}

impl Worker {
    pub(crate) fn new(site: Arc<Site>) -> Self {
        let desk = Desk {
            site: Arc::clone(&site),
            session: None,
            settings: ManagedSettings::default(),
        };
        Self {
            site,
            desk: Arc::new(Mutex::new(desk)),
            directory: Arc::default(),
            patience: DIRECTORY_MAX,
        }
    }

    pub(crate) fn site(&self) -> &Arc<Site> {
        &self.site
    }

    pub(crate) async fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().await
    }

    /// The data directory for oneself: for a start of PostgreSQL until it is ordered, for a step that
    /// replaces the data until it has ended, cancelled or not. So none begins between the look at the
    /// marker (P8) and the start that rests on it.
    pub(crate) async fn directory(&self) -> anyhow::Result<OwnedMutexGuard<()>> {
        let limit = self.patience;
        let turn = Arc::clone(&self.directory).lock_owned();
        tokio::time::timeout(limit, turn).await.with_context(|| {
            format!(
                "{} is still being worked on after {limit:?}: an earlier clone, rewind, \
                     initdb or start has not ended",
                self.site.layout.data_dir.display()
            )
        })
    }

    /// Opens the worker's session ahead of its first use: in a failover eleven milliseconds count.
    pub(crate) fn warm_up(&self) {
        let worker = self.clone();
        tokio::spawn(async move {
            if let Err(error) = worker.desk().await.session().await {
                tracing::debug!(%error, "the worker's session is not open yet");
            }
        });
    }
}

impl Desk {
    /// The session, opened again where it was lost.
    pub(crate) async fn session(&mut self) -> Result<&mut Session, SessionError> {
        if self.session.as_ref().is_none_or(Session::is_closed) {
            self.session = None;
            let opened = Session::connect(&self.site.session_options(), CONNECT_MAX).await?;
            self.session = Some(opened);
        }
        self.session
            .as_mut()
            .ok_or_else(|| SessionError::Refused("no session".to_owned()))
    }
}
