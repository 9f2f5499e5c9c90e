//! What the guard says, and what is done once it is gone.

use std::time::Duration;

use pgha_core::decide::Releasable;
use pgha_guard::{self as guard, EmptyReport, Order, clock};

use super::Event;
use crate::agent::Agent;
use crate::agent::execute::order;

/// Killing what a guard left is tried again after this.
const EMPTY_MAX: Duration = Duration::from_secs(5);

impl Agent {
    pub(super) fn take_guard(&mut self, event: guard::Event) {
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
                // What was started and is not wanted any more is stopped by the next decision.
                self.local.has_started();
                self.ran = true;
                if self.busy.hurried {
                    self.hurry();
                }
            }
            guard::Event::Assumed { epoch } => {
                self.busy.assuming = None;
                self.local.assumes(epoch, clock::now());
            }
            guard::Event::StoodDown { .. } => {}
            guard::Event::PostmasterExited { pid, status, .. } => {
                if self.local.stopping.is_some() {
                    tracing::info!(pid, ?status, "PostgreSQL ended");
                } else {
                    tracing::warn!(
                        pid,
                        ?status,
                        "PostgreSQL ended without an order of the sidecar"
                    );
                }
            }
            guard::Event::Refused { order, why } => {
                tracing::error!(order, %why, "the guard refused an order");
                if self.busy.assuming.take().is_some() && order == "assume" {
                    // The epoch's secret went with the order: it ends by time, which is sooner than
                    // that of a promotion that does not come.
                    self.parts.holder.drop_lease();
                }
                // Another order may be refused only because the start has not come there yet.
                if self.local.starting && order == "start" {
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
                order(guard, &Order::Ack { epoch });
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

    pub(super) fn take_emptied(&mut self, outcome: Result<(), String>) {
        self.busy.guard = false;
        match outcome {
            // The secret went down with the guard: the epoch ends by time.
            Ok(()) => {
                self.guard = None;
                // What the buried one still says must not be taken for the next one's word: a tree that
                // runs would count as empty, and be reported on while its receiver goes on.
                self.guard_number += 1;
                self.tree_is_empty();
            }
            Err(error) => {
                tracing::error!(error, "what the guard left cannot be killed: trying again");
                self.bury_guard();
            }
        }
    }

    /// Kills what a dead or stalled guard left; the answer is [`Event::Emptied`].
    pub(in crate::agent) fn bury_guard(&mut self) {
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
            let outcome = guard.kill_and_empty(clock::now() + EMPTY_MAX);
            let outcome = outcome.map(|_| ()).map_err(|error| error.to_string());
            let _ = events.send(Event::Emptied(outcome));
        });
    }
}
