//! What happens to the agent, and what it then knows.

use pgha_core::decide::{Data, JobDone, JobKind, Releasable, Tree, Upstream};
use pgha_core::{Epoch, Lsn, Mono, TimelineId};
use pgha_guard::{self as guard, EmptyReport, Order, clock};

use super::Agent;
use crate::server::ProbeReport;

/// A primary that is not started again within this long of a good start does not count as failing.
const GOOD_RUN: std::time::Duration = std::time::Duration::from_secs(30);

/// Something that the agent has to know.
#[derive(Debug)]
pub(crate) enum Event {
    /// From the guard.
    Guard(guard::Event),
    /// The sidecar itself killed what a dead guard left.
    Emptied(Result<(), String>),
    /// From the prober.
    Probe(ProbeReport),
    /// A job ended.
    Job(JobKind, anyhow::Result<JobDone>),
    /// A job said how far it is.
    Progress(String),
    /// The data directory was looked into.
    Inspected(Data),
    /// A start could not even be ordered.
    StartFailed(String),
    /// PostgreSQL could not be pointed to its upstream.
    FollowFailed(Upstream, String),
    /// Slots were made and dropped, or not.
    Slots(Result<(), String>),
    /// A proposal was answered.
    Proposed,
    /// An epoch is on disk.
    Adopted(Epoch),
    /// Parameters were reloaded; these wait for a restart.
    Reloaded(Vec<String>),
    /// A second request to end.
    Hurry,
}

impl Agent {
    pub(super) fn take(&mut self, event: Event) {
        match event {
            Event::Guard(event) => self.take_guard(event),
            Event::Emptied(outcome) => self.take_emptied(outcome),
            Event::Probe(report) => self.take_probe(report),
            Event::Job(kind, outcome) => self.take_job(kind, outcome),
            Event::Progress(text) => {
                if let Some(job) = &mut self.local.job {
                    job.progress = Some(text);
                }
            }
            Event::Inspected(data) => {
                self.busy.inspecting = false;
                self.local.finds(data);
            }
            Event::StartFailed(error) => {
                self.busy.starting = false;
                tracing::error!(error, "PostgreSQL cannot be started");
                self.count_start_failure(error);
                self.tree_is_empty();
            }
            Event::FollowFailed(upstream, error) => {
                tracing::warn!(upstream = %upstream.node, error, "the receiver was not pointed");
                self.local.does_not_follow(&upstream);
            }
            Event::Slots(outcome) => {
                self.busy.slots = None;
                if let Err(error) = outcome {
                    tracing::warn!(error, "replication slots are not what they should be");
                }
                self.look_again();
            }
            Event::Proposed => self.busy.proposing = false,
            Event::Adopted(epoch) => {
                if self.busy.adopting == Some(epoch) {
                    self.busy.adopting = None;
                }
            }
            Event::Reloaded(pending) => self.restart_pending = pending,
            Event::Hurry => self.hurry(),
        }
    }

    fn take_guard(&mut self, event: guard::Event) {
        match event {
            guard::Event::Ready { pid, memory_lock } => {
                tracing::debug!(pid, ?memory_lock, "the guard is ready");
            }
            guard::Event::Started {
                pid,
                epoch,
                primary,
            } => {
                tracing::info!(pid, %epoch, primary, "PostgreSQL was started");
                self.busy.starting = false;
            }
            guard::Event::Assumed { epoch } => {
                self.busy.assuming = None;
                self.local.assumes(epoch, clock::now());
            }
            guard::Event::StoodDown { .. } => {}
            guard::Event::PostmasterExited { pid, status, .. } => {
                tracing::info!(pid, ?status, "PostgreSQL ended");
            }
            guard::Event::Refused { order, why } => {
                tracing::error!(order, %why, "the guard refused an order");
                self.busy.assuming = None;
                if self.busy.starting {
                    self.busy.starting = false;
                    self.count_start_failure(why.to_string());
                    self.tree_is_empty();
                }
            }
            guard::Event::Empty(report) => self.take_empty(report),
            guard::Event::Stuck {
                since_us,
                processes,
            } => {
                tracing::error!(
                    since_us,
                    ?processes,
                    "processes outlive SIGKILL: no release yet"
                );
            }
            guard::Event::ReleaseFinished { epoch, outcome } => {
                tracing::info!(%epoch, ?outcome, "the guard released an epoch by itself");
            }
            guard::Event::GuardGone { status } => {
                tracing::error!(status, "the guard is gone: its tree is killed");
                self.bury_guard();
            }
        }
    }

    fn take_empty(&mut self, report: EmptyReport) {
        tracing::info!(
            epoch = %report.epoch, cause = %report.cause,
            fenced_us = report.seen_to_fenced_us, empty_us = report.seen_to_empty_us,
            "no process of PostgreSQL is left"
        );
        if self.local.stopping.is_none() {
            self.ended_by_itself();
        }
        if report.secret.is_some() {
            let cause = self.describe_end(&report);
            self.local.may_release(Releasable {
                epoch: report.epoch,
                cause,
                at: clock::now(),
            });
            if let Some(guard) = &self.guard {
                let epoch = report.epoch;
                self.order(guard, &Order::Ack { epoch });
            }
            self.secrets.take_back(report);
        }
        self.tree_is_empty();
    }

    fn describe_end(&self, report: &EmptyReport) -> String {
        match (report.cause, self.local.stopping) {
            (guard::EmptyCause::PostmasterExited, None) => "PostgreSQL ended by itself".to_owned(),
            (guard::EmptyCause::PostmasterExited | guard::EmptyCause::Ordered, Some(_)) => {
                "PostgreSQL was stopped".to_owned()
            }
            (cause, _) => cause.to_string(),
        }
    }

    /// A start that never answered, or ended soon, is a failed start; the next one waits.
    fn ended_by_itself(&mut self) {
        let since = match &self.local.tree {
            Tree::Standby { since, .. } | Tree::Primary { since, .. } => *since,
            Tree::Unknown | Tree::Empty => return,
        };
        let now = clock::now();
        let answered = self.local.probe.is_some();
        let primary = matches!(self.local.tree, Tree::Primary { .. });
        if !answered || (now.since(since) < GOOD_RUN && !primary) {
            let tail = self.parts.worker.as_ref().map(|w| w.site().log_tail());
            self.count_start_failure(tail.unwrap_or_default());
        }
    }

    pub(super) fn count_start_failure(&mut self, detail: String) {
        tracing::warn!(detail, "PostgreSQL did not start, or ended at once");
        self.local.start_failed(detail, clock::now());
    }

    /// Nothing runs: what was known of the run is void, and the directory is looked into again.
    pub(super) fn tree_is_empty(&mut self) {
        self.last_flush = self.flushed_as_primary();
        self.local.ends();
        self.busy.starting = false;
        self.busy.assuming = None;
        self.prober = None;
        self.inspect();
    }

    /// Where the primary that has just ended is known to have flushed its WAL to, on its timeline.
    fn flushed_as_primary(&self) -> Option<(TimelineId, Lsn)> {
        let timeline = match (&self.local.tree, &self.local.probe) {
            (Tree::Primary { .. }, Some(probe)) if !probe.in_recovery => probe.timeline,
            _ => return None,
        };
        let flush = self
            .parts
            .shared
            .flush_lsn
            .load(std::sync::atomic::Ordering::Acquire);
        (flush > 0).then_some((timeline, Lsn(flush)))
    }

    fn take_emptied(&mut self, outcome: Result<(), String>) {
        self.busy.guard = false;
        self.guard = None;
        match outcome {
            // The secret went down with the guard: the epoch ends by time.
            Ok(()) => self.tree_is_empty(),
            Err(error) => {
                tracing::error!(error, "what the guard left cannot be killed: trying again");
                self.bury_guard();
            }
        }
    }

    fn take_probe(&mut self, report: ProbeReport) {
        match report {
            ProbeReport::Answer(mut probe) => {
                if !matches!(self.local.tree, Tree::Standby { .. } | Tree::Primary { .. }) {
                    return;
                }
                if self.local.probe.is_none()
                    && let Some(worker) = &self.parts.worker
                {
                    worker.warm_up();
                }
                self.parts
                    .shared
                    .hung
                    .store(false, std::sync::atomic::Ordering::Release);
                probe.restart_pending.clone_from(&self.restart_pending);
                self.local.answers(*probe);
            }
            ProbeReport::Silent { since, error } => self.take_silence(since, &error),
        }
    }

    fn take_silence(&mut self, since: Mono, error: &str) {
        let hung = clock::now().since(since) > self.parts.config.primary_hang;
        let before = self
            .parts
            .shared
            .hung
            .swap(hung, std::sync::atomic::Ordering::AcqRel);
        if hung && !before {
            tracing::error!(error, "PostgreSQL hangs: its lease is not renewed any more");
        }
    }

    fn take_job(&mut self, kind: JobKind, outcome: anyhow::Result<JobDone>) {
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
                    self.inspect();
                }
                if told {
                    self.look_again();
                }
            }
            Err(error) => {
                let detail = format!("{error:#}");
                tracing::warn!(?kind, error = detail, "failed");
                self.local.fails(detail, clock::now());
                self.inspect();
            }
        }
    }

    pub(super) fn look_again(&self) {
        if let Some(prober) = &self.prober {
            prober.look_again();
        }
    }

    /// Looks into the data directory, away from the loop.
    pub(super) fn inspect(&mut self) {
        let Some(worker) = &self.parts.worker else {
            return;
        };
        if !matches!(self.local.tree, Tree::Empty) {
            return;
        }
        self.busy.inspecting = true;
        self.local.data = Data::Unknown;
        let site = worker.site().clone();
        let events = self.events.0.clone();
        let served = self.last_flush;
        tokio::task::spawn_blocking(move || {
            let _ = events.send(Event::Inspected(site.inspect(served)));
        });
    }

    /// Kills what a dead or stalled guard left; the answer is [`Event::Emptied`].
    pub(super) fn bury_guard(&mut self) {
        let Some(guard) = self.guard.clone() else {
            return;
        };
        if std::mem::replace(&mut self.busy.guard, true) {
            return;
        }
        // Nobody may write while nobody watches over the tree.
        self.parts.gate.close();
        self.parts.holder.drop_lease();
        let events = self.events.0.clone();
        tokio::task::spawn_blocking(move || {
            const EMPTY_MAX: std::time::Duration = std::time::Duration::from_secs(5);
            let outcome = guard.kill_and_empty(clock::now() + EMPTY_MAX);
            let outcome = outcome.map(|_| ()).map_err(|error| error.to_string());
            let _ = events.send(Event::Emptied(outcome));
        });
    }
}
