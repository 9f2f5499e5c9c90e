//! Jobs: work that takes longer than a step of the loop, in steps between which anything may fail.

use pgha_core::command::Opened;
use pgha_core::decide::{JobDone, JobKind, slot_name};
use pgha_core::{Epoch, Lsn, Phase, SystemIdentifier};
use rand::Rng;
use std::sync::Arc;

use crate::event::NodeEvent;
use crate::mutant::Mutant;
use crate::time::Nanos;
use crate::wal::{DataDirectory, RecordKind};
use crate::world::World;

/// `max_slot_wal_keep_size` of the model.
const SLOT_BYTES_MAX: u64 = 16 << 10;

/// A session is tried for this long.
const CONNECT_MAX: std::time::Duration = std::time::Duration::from_secs(2);

/// The step in which a cancelled job has ended.
pub(crate) const CANCELLED: u8 = 9;

impl World {
    /// What a job does before it takes time: the marker of P8 is on disk first.
    pub fn prepare_job(&mut self, node: usize, kind: &JobKind) {
        match kind {
            JobKind::Initialize => self.mark(node),
            // Nothing is touched before the source has answered.
            JobKind::Clone { from, .. } if self.answers(node, from) => self.mark(node),
            JobKind::Rewind { from, .. } if self.answers_as_primary(node, from) => self.mark(node),
            JobKind::Clone { .. } | JobKind::Rewind { .. } => {}
            JobKind::Promote { .. } | JobKind::Settle | JobKind::Checkpoint { .. } => {}
        }
    }

    /// Nobody looks into the directory now: what its sidecar knows of it, it knows from the job.
    fn mark(&mut self, node: usize) {
        self.nodes[node].disk.marker = true;
    }

    pub(crate) fn unmark(&mut self, node: usize, done: JobDone) {
        self.nodes[node].disk.marker = false;
        self.job_done(node, done);
    }

    /// The next step of a job that still runs.
    pub fn job_step(&mut self, node: usize, job: u64, step: u8) {
        let sidecar = self.nodes[node].sidecar.as_ref();
        let Some(running) = sidecar.and_then(|s| s.job.as_ref()).filter(|j| j.id == job) else {
            return;
        };
        let (kind, unassigned) = (running.kind.clone(), running.unassigned);
        let job_seen = sidecar.and_then(|s| s.local.job.as_ref());
        if job_seen.is_some_and(|seen| seen.cancelled) {
            if step == CANCELLED {
                self.job_failed(node, "it was cancelled");
            }
            return;
        }
        match (kind, step) {
            (JobKind::Initialize, _) => self.initialize(node),
            (JobKind::Settle, 1) => self.cut_receiver(node, job),
            (JobKind::Settle, _) => self.settle(node, job),
            (JobKind::Promote { .. }, 1) => self.promote(node, job),
            (JobKind::Promote { epoch }, 2) => self.store_fork_id(node, epoch),
            (JobKind::Promote { .. }, _) => self.job_failed(node, "it is not on its timeline"),
            (JobKind::Clone { from, .. }, _) => self.clone_from(node, &from),
            (JobKind::Rewind { from, epoch }, _) => self.rewind_to(node, &from, epoch, unassigned),
            (JobKind::Checkpoint { handover }, _) => self.checkpoint(node, handover),
        }
    }

    fn initialize(&mut self, node: usize) {
        if self.fault_chance(self.profile.job_fails_percent) {
            return self.job_failed(node, "initdb failed");
        }
        let identifier = SystemIdentifier(self.rng.random());
        let origin = self.fresh_id();
        let fresh = DataDirectory::initialized(identifier, origin);
        self.nodes[node].disk.data = Some(fresh);
        self.nodes[node].disk.initialized = true;
        self.unmark(node, JobDone::Initialized);
    }

    fn again(&mut self, node: usize, job: u64, step: u8, after: Nanos) {
        let nonce = self.nonce(node).unwrap_or_default();
        self.sidecar_in(node, after, NodeEvent::Job(nonce, job, step));
    }

    fn cut_receiver(&mut self, node: usize, job: u64) {
        let runs = self.is(Mutant::ReceiverRuns);
        let n = &mut self.nodes[node];
        if let Some(postgres) = &mut n.postgres
            && !runs
        {
            postgres.receiver = None;
        }
        let after = self.span(2, 60);
        self.again(node, job, 2, after);
        self.dirty(node);
    }

    fn settle(&mut self, node: usize, job: u64) {
        let believed = self.is(Mutant::ForkIdsBelieved);
        let hidden = self.is(Mutant::TailHidden);
        if !self.nodes[node].postgres_runs() {
            let n = &self.nodes[node];
            let now = n.now(self.now);
            let begun = n.sidecar.as_ref().and_then(|s| s.local.job.as_ref());
            let begun = begun.map_or(now, |job| job.since);
            let replays = n.postgres.as_ref().is_some_and(|p| p.recovering);
            if replays && now.since(begun) > CONNECT_MAX {
                return self.job_failed(node, "it is not consistent yet");
            }
            let after = self.span(20, 60);
            return self.again(node, job, 2, after);
        }
        let n = &self.nodes[node];
        let Some(data) = &n.disk.data else {
            return self.job_failed(node, "there is no data");
        };
        let newest_history = Some(data.newest_history);
        let mut position = data.position();
        let lineage = &n.disk.state.lineage;
        let own = lineage.path_to(position.timeline).unwrap_or_default();
        for (timeline, _) in own.iter().filter(|_| believed) {
            if let Some(fork) = lineage.forks.get(timeline) {
                position.fork_ids.insert(*timeline, fork.fork_id.clone());
            }
        }
        let children = lineage
            .forks
            .values()
            .filter(|f| f.parent == position.timeline);
        if let Some(left) = children.map(|f| f.fork_lsn).min().filter(|_| hidden) {
            position.end = position.end.min(left);
        }
        let settled = JobDone::Settled {
            position,
            newest_history,
        };
        self.job_done(node, settled);
        self.probe_now(node);
    }

    fn promote(&mut self, node: usize, job: u64) {
        let n = &mut self.nodes[node];
        let Phase::Primary(record) = &n.disk.state.phase else {
            return self.job_failed(node, "the epoch ended");
        };
        let others = n.disk.state.data_members().filter(|(m, _)| **m != n.name);
        let slots: Vec<String> = others.map(|(m, _)| slot_name(record.timeline, m)).collect();
        let Some(data) = &mut n.disk.data else {
            return self.job_failed(node, "there is no data");
        };
        let kept = data.redo.max(data.kept_from);
        data.slots = slots.into_iter().map(|name| (name, kept)).collect();
        let id = n.postgres.as_ref().map_or(0, |p| p.id);
        if self.fault_chance(self.profile.job_fails_percent) {
            self.count("promotion failed");
            return self.job_failed(node, "the promotion failed");
        }
        let after = self.span(40, 450);
        self.tree_in(node, after, NodeEvent::PostgresPromotes(id, job));
        // pg_promote is waited for, but not for ever.
        self.again(node, job, 8, 30 * crate::time::SECOND);
    }

    fn store_fork_id(&mut self, node: usize, epoch: Epoch) {
        let origin = self.fresh_id();
        let now = self.nodes[node].now(self.now);
        let n = &mut self.nodes[node];
        let Some(data) = &mut n.disk.data else {
            return;
        };
        let Some((timeline, fork)) = n
            .disk
            .state
            .lineage
            .forks
            .iter()
            .find(|(_, fork)| fork.epoch == epoch)
        else {
            return self.job_failed(node, "the epoch has no timeline");
        };
        if data.timeline() != *timeline {
            return self.job_failed(node, "PostgreSQL chose another timeline");
        }
        let start = data.wal.iter().position(|r| r.timeline == *timeline);
        let fork_lsn = start
            .and_then(|index| data.wal[..index].last())
            .map(|record| record.end);
        let row = RecordKind::ForkRow(Arc::new(fork.fork_id.clone()));
        data.append(192, *timeline, row, origin);
        let opened = Opened {
            epoch,
            timeline: *timeline,
            fork_lsn,
            fork_row_lsn: Some(data.end()),
            steps: Vec::new(),
        };
        self.count("promotion done");
        self.written(node);
        self.job_done(node, JobDone::Promoted(opened, now));
        self.probe_now(node);
    }

    fn checkpoint(&mut self, node: usize, handover: Option<u64>) {
        if !self.nodes[node].writable() {
            return self.job_failed(node, "PostgreSQL does not answer");
        }
        let origin = self.fresh_id();
        let n = &mut self.nodes[node];
        let Some(data) = &mut n.disk.data else {
            return;
        };
        let timeline = data.timeline();
        data.append(112, timeline, RecordKind::Background, origin);
        data.control_timeline = timeline;
        data.redo = data.end();
        if self.profile.removes_wal {
            // What slots keep, unless that is more than a slot may.
            let least = data.slots.values().copied().min();
            let most = Lsn(data.end().0.saturating_sub(SLOT_BYTES_MAX));
            let kept = least.unwrap_or_else(|| data.end()).max(most);
            data.kept_from = data.kept_from.max(kept);
        }
        self.written(node);
        self.job_done(node, JobDone::Checkpointed(handover));
        self.probe_now(node);
    }
}
