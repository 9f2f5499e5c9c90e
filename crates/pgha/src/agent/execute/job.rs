//! Begins and cancels the one job.

use pgha_core::decide::JobKind;
use pgha_guard::clock;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::agent::{Agent, Event};
use crate::server::{JobContext, run_job};

/// The job that runs beside the loop.
pub(in crate::agent) struct RunningJob {
    task: JoinHandle<()>,
    cancel: CancellationToken,
}

impl Agent {
    pub(super) fn begin(&mut self, kind: JobKind) {
        let Some(worker) = self.parts.worker.clone() else {
            return;
        };
        if self.local.job.is_some() || self.local.starting {
            return;
        }
        let quiet = matches!(kind, JobKind::Settle | JobKind::Checkpoint { .. });
        if !quiet {
            tracing::info!(?kind, "begun");
        }
        let (progress, mut told) = mpsc::unbounded_channel();
        let context = JobContext {
            worker,
            state: self.state.borrow().state.clone(),
            settled: self.local.settled.clone(),
            superuser_password: self.parts.config.postgres.superuser_password.clone(),
            password_path: self.parts.config.data_dir.join("superuser.password"),
            progress,
            cancel: CancellationToken::new(),
        };
        let cancel = context.cancel.clone();
        let events = self.events.0.clone();
        let progress_events = events.clone();
        tokio::spawn(async move {
            while let Some(text) = told.recv().await {
                let _ = progress_events.send(Event::Progress(text));
            }
        });
        let task_kind = kind.clone();
        let task = tokio::spawn(async move {
            let outcome = run_job(task_kind.clone(), context).await;
            let _ = events.send(Event::Job(task_kind, outcome));
        });
        self.job = Some(RunningJob { task, cancel });
        self.local.begins(kind, clock::now());
    }

    pub(super) fn cancel_job(&mut self) {
        let kind = self.job_kind().cloned();
        if !self.local.cancels() {
            return;
        }
        tracing::info!(?kind, "cancelled");
        if self.local.replacing().is_some() {
            // Its end, once the program is gone, comes as any other's.
            if let Some(job) = &self.job {
                job.cancel.cancel();
            }
        } else if let Some(job) = self.job.take() {
            job.task.abort();
            self.inspect();
        }
    }
}
