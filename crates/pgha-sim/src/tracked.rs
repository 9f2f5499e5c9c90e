//! The one job of a member that runs beside its loop.

use pgha_core::decide::{JobDone, JobKind};

use crate::event::NodeEvent;
use crate::job::CANCELLED;
use crate::node::RunningJob;
use crate::time::Nanos;
use crate::world::World;

impl World {
    pub(crate) fn begin_job(&mut self, node: usize, kind: JobKind) {
        let id = self.fresh_id();
        let now = self.nodes[node].now(self.now);
        let unassigned = self.unassigned(node);
        let Some(sidecar) = &mut self.nodes[node].sidecar else {
            return;
        };
        if sidecar.local.job.is_some() {
            return;
        }
        let nonce = sidecar.me.nonce;
        sidecar.local.begins(kind.clone(), now);
        sidecar.job = Some(RunningJob {
            id,
            kind: kind.clone(),
            unassigned,
        });
        self.prepare_job(node, &kind);
        let delay = self.job_time(&kind);
        self.sidecar_in(node, delay, NodeEvent::Job(nonce, id, 1));
        self.dirty(node);
    }

    fn job_time(&mut self, kind: &JobKind) -> Nanos {
        match kind {
            JobKind::Initialize => self.span(200, 1500),
            JobKind::Settle if self.fault_chance(10) => self.span(100, 2500),
            JobKind::Settle => self.span(2, 25),
            JobKind::Promote { .. } => self.span(1, 5),
            JobKind::Clone { .. } => self.span(300, 3000),
            JobKind::Rewind { .. } => self.span(100, 1500),
            JobKind::Checkpoint { .. } => self.span(20, 400),
        }
    }

    pub(crate) fn cancel_job(&mut self, node: usize) {
        let Some(sidecar) = &mut self.nodes[node].sidecar else {
            return;
        };
        if !sidecar.local.cancels() {
            return;
        }
        let nonce = sidecar.me.nonce;
        let replacing = sidecar.local.replacing().is_some();
        match sidecar.job.as_ref().map(|job| job.id).filter(|_| replacing) {
            // A killed program is waited for.
            Some(id) => {
                let ends = self.span(1, 300);
                self.sidecar_in(node, ends, NodeEvent::Job(nonce, id, CANCELLED));
            }
            None => {
                sidecar.job = None;
                self.examine(node);
            }
        }
        self.dirty(node);
    }

    /// The running job is done.
    pub fn job_done(&mut self, node: usize, done: JobDone) {
        if let Some(sidecar) = &mut self.nodes[node].sidecar {
            sidecar.job = None;
            sidecar.local.finishes(done);
        }
        self.examine(node);
        self.dirty(node);
    }

    /// The running job came to nothing.
    pub fn job_failed(&mut self, node: usize, detail: &str) {
        let now = self.nodes[node].now(self.now);
        let Some(sidecar) = &mut self.nodes[node].sidecar else {
            return;
        };
        sidecar.job = None;
        let Some(job) = &sidecar.local.job else {
            return;
        };
        let name = job_name(&job.kind);
        sidecar.local.fails(detail.to_owned(), now);
        self.count(&format!("job failed {name}"));
        self.trace(Some(node), || format!("{name} failed: {detail}"));
        self.examine(node);
        self.dirty(node);
    }
}

/// The word for a job.
pub fn job_name(kind: &JobKind) -> &'static str {
    match kind {
        JobKind::Initialize => "initialize",
        JobKind::Settle => "settle",
        JobKind::Promote { .. } => "promote",
        JobKind::Clone { .. } => "clone",
        JobKind::Rewind { .. } => "rewind",
        JobKind::Checkpoint { .. } => "checkpoint",
    }
}
