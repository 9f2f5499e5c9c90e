//! Jobs: work that takes longer than a step of the agent's loop. Each can be repeated from its
//! beginning after it was interrupted anywhere.

mod initialize;
mod promote;
mod replace;
mod settle;

use std::path::PathBuf;
use std::time::Duration;

use pgha_core::decide::{JobDone, JobKind};
use pgha_core::lineage::Position;
use pgha_core::{ClusterState, Secret};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Worker;

const CHECKPOINT_MAX: Duration = Duration::from_secs(600);
/// A job without progress for this long is given up.
const STALL_MAX: Duration = Duration::from_secs(120);

/// What a job works with.
pub(crate) struct JobContext {
    pub(crate) worker: Worker,
    pub(crate) state: ClusterState,
    /// What the data held before, where known.
    pub(crate) settled: Option<Position>,
    pub(crate) superuser_password: Option<Secret>,
    /// Where a drawn password is kept.
    pub(crate) password_path: PathBuf,
    pub(crate) progress: mpsc::UnboundedSender<String>,
    /// Ends a clone or a rewind. Its task goes on until the program is gone.
    pub(crate) cancel: CancellationToken,
}

/// Does the job.
pub(crate) async fn run_job(kind: JobKind, context: JobContext) -> anyhow::Result<JobDone> {
    let _directory = match kind.replaces_data() {
        true => Some(context.worker.directory().await?),
        false => None,
    };
    // Cancelled before it had the directory: it leaves that alone.
    anyhow::ensure!(!context.cancel.is_cancelled(), "it was cancelled");
    match kind {
        JobKind::Initialize => initialize::initialize(&context).await,
        JobKind::Settle => settle::settle(&context.worker).await,
        JobKind::Promote { epoch } => promote::promote(&context, epoch).await,
        JobKind::Clone { from, epoch } => replace::clone(&context, &from, epoch).await,
        JobKind::Rewind { from, epoch } => replace::rewind(&context, &from, epoch).await,
        JobKind::Checkpoint { handover } => {
            let mut desk = context.worker.desk().await;
            desk.session().await?.checkpoint(CHECKPOINT_MAX).await?;
            Ok(JobDone::Checkpointed(handover))
        }
    }
}
