//! Bringing a diverged data directory back onto another's line (manual, "pg_rewind").

use std::path::PathBuf;
use std::time::Duration;

use pgha_core::{Epoch, TimelineId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::clone::{blocking, end_leftover};
use super::output::diverged;
use super::process::{Run, run};
use super::{Job, JobError, JobOutcome, Progress};
use crate::config::Conninfo;
use crate::files::remove_durably;
use crate::marker::{JobKind, Marker, MarkerGuard};
use crate::{Installation, Layout, note_rewound, prepare_standby};

/// What to rewind to, and how.
#[derive(Clone, Debug)]
pub struct RewindOptions {
    /// The source's host: a primary that has checkpointed on its timeline. Against one that has
    /// not, the control file still shows the old timeline and nothing would be done.
    pub host: String,
    /// The source's PostgreSQL port.
    pub port: u16,
    /// The replication role, which may execute the four functions that are needed.
    pub user: String,
    /// File with its password.
    pub passfile: PathBuf,
    /// This member.
    pub member: String,
    /// The epoch it is done for.
    pub epoch: Epoch,
    /// The timeline of the data, where nobody assigned it: one of this number that the source has is
    /// another one, and their history files may be the same, byte for byte.
    pub unassigned: Option<TimelineId>,
    /// It is ended after so long without a word. Crash recovery of the directory gives none.
    pub stall_limit: Duration,
}

/// Starts a rewind. PostgreSQL must be stopped; after a crash the program runs crash recovery
/// first by itself (version 13 and later).
pub fn rewind(installation: Installation, layout: Layout, options: RewindOptions) -> Job {
    Job::spawn(JobKind::Rewind, move |progress, cancel| async move {
        end_leftover(&layout).await?;
        refuse_unfinished(&layout)?;
        let mut marker = Marker::begin(&layout.run_dir, JobKind::Rewind, options.epoch)?;
        let mut seen = Seen::default();
        let done = attempt(
            &installation,
            &layout,
            &options,
            &mut marker,
            &progress,
            &cancel,
            &mut seen,
        )
        .await;
        let done = done.and_then(|()| seen.refuse_twin(options.unassigned));
        if done.is_ok() || !seen.touched {
            let data_dir = layout.data_dir.clone();
            blocking(move || Ok(prepare_standby(&data_dir)?)).await?;
            if done.is_ok() && !seen.not_needed {
                note_rewound(&layout.run_dir, options.epoch)?;
            }
            marker.finish()?;
        }
        done.map_err(|error| refine(error, &seen))?;
        Ok(match seen.not_needed {
            true => JobOutcome::RewindNotNeeded,
            false => JobOutcome::Rewound {
                diverged: seen.diverged,
            },
        })
    })
}

/// What the program said on its way.
#[derive(Default)]
struct Seen {
    diverged: Option<(pgha_core::Lsn, TimelineId)>,
    not_needed: bool,
    /// From here on the directory is neither the old one nor the new one.
    touched: bool,
}

impl Seen {
    fn note(&mut self, line: &str) {
        self.diverged = self.diverged.or_else(|| diverged(line));
        self.not_needed |= line.contains("no rewind required");
        self.touched |= line.contains("need to copy");
    }

    /// The program takes the numbers of timelines for what they are, so the source moved on between the
    /// decision and the connection.
    fn refuse_twin(&mut self, unassigned: Option<TimelineId>) -> Result<(), JobError> {
        match self.diverged {
            Some((lsn, timeline)) if unassigned == Some(timeline) => {
                self.touched = true;
                Err(JobError::NotRewindable {
                    reason: format!(
                        "it was rewound to {lsn} on timeline {timeline}, which this data made by \
                         itself: the source has another one of that number"
                    ),
                })
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// A directory with a `backup_label` is no target: crash recovery would take the label away and
/// with it what makes it consistent. One whose rewind was interrupted is no target either.
fn refuse_unfinished(layout: &Layout) -> Result<(), JobError> {
    let refuse = |reason: &str| {
        Err(JobError::NotRewindable {
            reason: reason.to_owned(),
        })
    };
    if layout.data_dir.join("backup_label").exists() {
        return refuse("the directory has a backup_label: it was never replayed to consistency");
    }
    match Marker::read(&layout.run_dir) {
        Ok(Some(marker)) if marker.directory_broken || marker.kind == JobKind::Rewind => {
            refuse("an earlier rewind was interrupted")
        }
        Ok(_) => Ok(()),
        Err(error) => refuse(&error.to_string()),
    }
}

async fn attempt(
    installation: &Installation,
    layout: &Layout,
    options: &RewindOptions,
    marker: &mut MarkerGuard,
    progress: &watch::Sender<Progress>,
    cancel: &CancellationToken,
    seen: &mut Seen,
) -> Result<(), JobError> {
    // Single-user crash recovery refuses to run as a standby.
    remove_durably(&layout.data_dir.join("standby.signal"))?;
    let step = Run {
        kind: JobKind::Rewind,
        installation,
        program: "pg_rewind",
        args: vec![
            format!("--target-pgdata={}", layout.data_dir.display()),
            format!("--source-server={}", conninfo(options)?),
            "--progress".to_owned(),
        ],
        stall_limit: options.stall_limit,
        progress,
        cancel,
    };
    run(step, marker, |line| seen.note(line)).await
}

/// Words that mean that no later attempt will do better.
const NEVER: [&str; 5] = [
    "could not find common ancestor",
    "could not find previous WAL record",
    "could not open file",
    "source and target clusters are from different systems",
    "could not restore file",
];

fn refine(error: JobError, seen: &Seen) -> JobError {
    match error {
        JobError::Failed { tail, .. } if NEVER.iter().any(|words| tail.contains(words)) => {
            JobError::NotRewindable { reason: tail }
        }
        other if seen.touched => JobError::NotRewindable {
            reason: format!("it was interrupted half way: {other}"),
        },
        other => other,
    }
}

fn conninfo(options: &RewindOptions) -> Result<String, JobError> {
    let conninfo = Conninfo::new()
        .with("host", &options.host)?
        .with("port", &options.port.to_string())?
        .with("user", &options.user)?
        .with("dbname", "postgres")?
        // Between the decision and this connection the source may have become somebody's standby, of
        // a timeline with the number of ours. A primary that becomes one later ends the connection.
        .with("target_session_attrs", "read-write")?
        .with("options", "-c default_transaction_read_only=off")?
        .with("passfile", &options.passfile.to_string_lossy())?
        .with(
            "application_name",
            &format!("pgha_rewind_{}", options.member),
        )?
        .with_dead_peer_limits()?;
    Ok(conninfo.to_string())
}

#[cfg(test)]
mod tests;
