//! The end of a job.

use pgha_core::decide::{JobDone, JobKind};
use pgha_guard::clock;

use crate::agent::Agent;

impl Agent {
    pub(super) fn take_job(&mut self, kind: JobKind, outcome: anyhow::Result<JobDone>) {
        if self.job_kind() != Some(&kind) {
            return;
        }
        self.job = None;
        match outcome {
            Ok(done) => {
                tracing::info!(?kind, "done");
                let replaced = matches!(done, JobDone::Initialized | JobDone::Replaced { .. });
                let told = matches!(done, JobDone::Promoted(..) | JobDone::Checkpointed(_));
                self.local.finishes(done);
                if replaced {
                    self.ended = None;
                    self.inspect();
                }
                if told {
                    self.look_again();
                }
            }
            Err(error) => {
                let detail = format!("{error:#}");
                if self.local.job.as_ref().is_some_and(|job| job.cancelled) {
                    tracing::info!(?kind, detail, "ended as it was cancelled");
                } else {
                    tracing::warn!(?kind, error = detail, "failed");
                }
                self.local.fails(detail, clock::now());
                self.inspect();
            }
        }
    }
}
