//! A new copy of another member's data directory (manual, "pg_basebackup").

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use pgha_core::Epoch;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::process::{Run, run};
use super::{Job, JobError, JobOutcome, LEFTOVER_LIMIT, Progress};
use crate::config::Conninfo;
use crate::files::At;
use crate::marker::{JobKind, Marker, MarkerError};
use crate::swap::{Displace, clear_staging, swap_in};
use crate::{Installation, Layout, forget_rewound, prepare_standby};

/// What to clone, and how.
#[derive(Clone, Debug)]
pub struct CloneOptions {
    /// The source's host.
    pub host: String,
    /// The source's PostgreSQL port.
    pub port: u16,
    /// The replication role.
    pub user: String,
    /// File with its password.
    pub passfile: PathBuf,
    /// This member: it connects as `pgha_clone_<name>`, which is in no list of standbys. Under the
    /// member's own name its stream would count as a synchronous standby.
    pub member: String,
    /// The epoch it is done for.
    pub epoch: Epoch,
    /// It is ended after so long without a sign of progress. The source's checkpoint and the final
    /// flush of the copy give none.
    pub stall_limit: Duration,
    /// What becomes of the directory that is there.
    pub displace: Displace,
}

/// Starts a clone. The copy is made beside the data directory and then put in its place, ready to
/// be started as a standby; until then what is there stays untouched. To keep the WAL that the
/// standby will need, make its slot on the source first.
pub fn clone(installation: Installation, layout: Layout, options: CloneOptions) -> Job {
    Job::spawn(JobKind::Clone, move |progress, cancel| async move {
        end_leftover(&layout).await?;
        let mut marker = Marker::begin(&layout.run_dir, JobKind::Clone, options.epoch)?;
        let copied = copy(
            &installation,
            &layout,
            &options,
            &mut marker,
            &progress,
            &cancel,
        )
        .await;
        let outcome = match copied {
            Ok(()) => blocking({
                let layout = layout.clone();
                move || Ok(swap_in(&layout.data_dir, options.displace)?)
            })
            .await
            .map(|aside| JobOutcome::Cloned { aside })?,
            Err(error) => {
                // Nothing but the staging directory was touched, so the old one is what it was.
                blocking(move || Ok(clear_staging(&layout.data_dir)?)).await?;
                marker.abandon()?;
                return Err(error);
            }
        };
        forget_rewound(&layout.run_dir)?;
        marker.finish()?;
        Ok(outcome)
    })
}

async fn copy(
    installation: &Installation,
    layout: &Layout,
    options: &CloneOptions,
    marker: &mut crate::MarkerGuard,
    progress: &watch::Sender<Progress>,
    cancel: &CancellationToken,
) -> Result<(), JobError> {
    let data_dir = layout.data_dir.clone();
    let staging = blocking(move || Ok(clear_staging(&data_dir)?)).await?;
    let args = vec![
        format!("--pgdata={}", staging.display()),
        format!("--dbname={}", conninfo(options)?),
        "--wal-method=stream".to_owned(),
        "--checkpoint=fast".to_owned(),
        "--progress".to_owned(),
        "--verbose".to_owned(),
        "--no-password".to_owned(),
    ];
    let step = Run {
        kind: JobKind::Clone,
        installation,
        program: "pg_basebackup",
        args,
        stall_limit: options.stall_limit,
        progress,
        cancel,
    };
    run(step, marker, |_| ()).await?;
    // Before it is in place: it must never come up as a primary.
    blocking(move || {
        fs::metadata(staging.join("PG_VERSION")).at("inspect", &staging)?;
        Ok(prepare_standby(&staging)?)
    })
    .await
}

fn conninfo(options: &CloneOptions) -> Result<String, JobError> {
    let conninfo = Conninfo::new()
        .with("host", &options.host)?
        .with("port", &options.port.to_string())?
        .with("user", &options.user)?
        .with("passfile", &options.passfile.to_string_lossy())?
        .with(
            "application_name",
            &format!("pgha_clone_{}", options.member),
        )?
        .with_dead_peer_limits()?;
    Ok(conninfo.to_string())
}

/// Ends what an earlier sidecar's job left running, before anything is written.
pub(super) async fn end_leftover(layout: &Layout) -> Result<(), JobError> {
    match Marker::read(&layout.run_dir) {
        Ok(Some(marker)) => Ok(marker.kill_leftover(LEFTOVER_LIMIT).await?),
        // Atomically written, so it was never whole: no process had been named in it.
        Ok(None) | Err(MarkerError::Damaged { .. }) => Ok(()),
        Err(error @ MarkerError::File(_)) => Err(error.into()),
    }
}

/// Work on many files, away from the runtime's threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, JobError> + Send + 'static,
) -> Result<T, JobError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| JobError::Broken {
        kind: JobKind::Clone,
        reason: error.to_string(),
    })?
}
