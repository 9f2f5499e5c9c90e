//! What happens to the agent, and what it then knows.

mod guard;
mod job;
mod probe;
mod tree;

use pgha_core::Epoch;
use pgha_core::decide::{JobDone, JobKind, Upstream};

use crate::agent::Agent;
use crate::server::{Found, ProbeReport};

/// Something that the agent has to know.
#[derive(Debug)]
pub(crate) enum Event {
    /// From the guard with this number.
    Guard(u64, pgha_guard::Event),
    /// The sidecar itself killed what a dead guard left.
    Emptied(Result<(), String>),
    /// From the prober.
    Probe(ProbeReport),
    /// A job ended.
    Job(JobKind, anyhow::Result<JobDone>),
    /// A job said how far it is.
    Progress(String),
    /// The data directory was looked into.
    Inspected(Found),
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
    /// They were not, and are to be tried again.
    ApplyParameters,
    /// The access rules could not be written, and are to be tried again.
    WriteAccess,
    /// A second request to end.
    Hurry,
}

impl Agent {
    pub(in crate::agent) fn take(&mut self, event: Event) {
        match event {
            Event::Guard(number, event) if number == self.guard_number => self.take_guard(event),
            Event::Guard(_, event) => tracing::debug!(?event, "a guard of the past says something"),
            Event::Emptied(outcome) => self.take_emptied(outcome),
            Event::Probe(report) => self.take_probe(report),
            Event::Job(kind, outcome) => self.take_job(kind, outcome),
            Event::Progress(text) => {
                if let Some(job) = &mut self.local.job {
                    job.progress = Some(text);
                }
            }
            Event::Inspected(Found { data, end }) => {
                self.local.finds(data);
                if let Some((timeline, end)) = end {
                    self.local.finds_end(timeline, end);
                }
            }
            Event::StartFailed(error) => {
                tracing::error!(error, "PostgreSQL cannot be started");
                self.count_start_failure(error);
                self.tree_is_empty();
            }
            Event::FollowFailed(upstream, error) => {
                tracing::warn!(upstream = %upstream.node, error, "the receiver was not pointed");
                self.local.does_not_follow(&upstream);
            }
            Event::Slots(outcome) => {
                self.busy.slots = false;
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
            // Whatever is on disk by then is what the next look compares with.
            Event::ApplyParameters => self.seen.parameters = 0,
            Event::WriteAccess => self.seen.members = 0,
            Event::Hurry => self.hurry(),
        }
    }
}
