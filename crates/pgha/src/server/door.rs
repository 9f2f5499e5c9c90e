//! Whether a primary lets new clients in.

use std::time::Duration;

use pgha_core::Mono;
use pgha_guard::clock;
use pgha_postgres::SessionOptions;
use pgha_postgres::session::{Knock, knock};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Each knock costs PostgreSQL a process, and is told of where `log_connections` is on.
const INTERVAL: Duration = Duration::from_secs(2);
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// One that fails proves nothing: this process may have been paused in the middle of it.
const KNOCKS_MIN: u32 = 3;

/// It does not, for this long.
#[derive(Clone, Debug)]
pub(crate) struct Shut {
    /// Knocks in a row that were not answered.
    knocks: u32,
    /// When the first of them began.
    pub(crate) since: Mono,
    /// What became of the last one.
    pub(crate) error: String,
}

/// Knocks until it is dropped.
pub(super) struct Door {
    shut: watch::Receiver<Option<Shut>>,
    task: JoinHandle<()>,
}

impl Door {
    pub(super) fn watch(options: SessionOptions) -> Self {
        let (tell, shut) = watch::channel(None);
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(INTERVAL).await;
                let began = clock::now();
                let error = match knock(&options, ANSWER_MAX).await {
                    Knock::Answered => None,
                    Knock::Unanswered(error) => Some(error),
                    Knock::Undecided(error) => {
                        tracing::debug!(
                            error,
                            "whether PostgreSQL lets new clients in is not known"
                        );
                        continue;
                    }
                };
                tell.send_modify(|known: &mut Option<Shut>| {
                    let before = known.as_ref().map_or((0, began), |s| (s.knocks, s.since));
                    *known = error.map(|error| Shut {
                        knocks: before.0 + 1,
                        since: before.1,
                        error: format!("no new client is let in: {error}"),
                    });
                });
            }
        });
        Self { shut, task }
    }

    pub(super) fn shut(&self) -> Option<Shut> {
        let shut = self.shut.borrow().clone();
        shut.filter(|shut| shut.knocks >= KNOCKS_MIN)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}
