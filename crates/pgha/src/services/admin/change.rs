//! Changes of primary that an operator orders.

use std::time::Duration;

use pgha_core::command::Revoke;
use pgha_core::journal::{Cause, JournalEntry, Step};
use pgha_core::{Command, Epoch, MemberName};
use pgha_guard::clock;
use pgha_proto::v1;
use pgha_proto::v1::outcome::Kind;
use pgha_raft::ProposeError;

use super::progress::{Sender, outcome, progress};
use super::{AdminService, Joined, PROPOSE_MAX, Seen, Targets, explain};
use crate::agent::wall_clock;

const TIMEOUT_DEFAULT_MS: u64 = 60_000;
const HANDOVER_MAX_MS: u64 = 30_000;

/// Why something was not done, in one line.
pub(super) enum NotDone {
    /// This member does not lead any more and wrote nothing: somebody else is to be asked.
    Moved(String),
    /// It will not happen.
    Refused(String),
    /// It may still happen.
    Unknown(String),
}

impl AdminService {
    /// A planned change of primary. Refuses with the numbers that speak against it.
    pub(super) async fn switch(
        &self,
        request: v1::SwitchoverRequest,
        sender: &Sender,
    ) -> Result<(), NotDone> {
        let joined = self
            .joined()
            .map_err(|status| NotDone::Refused(status.message().to_owned()))?;
        // The primary tells its position with each renewal: one that was sent after the order came
        // has to be in before anybody's lag is judged.
        let interval = joined
            .raft
            .state()
            .borrow()
            .state
            .settings
            .lease()
            .renew_interval();
        tokio::time::sleep(interval * 3).await;
        let view = joined.raft.state().borrow().clone();
        let record = view
            .state
            .primary()
            .filter(|record| record.opened)
            .ok_or_else(|| {
                let text = "there is no primary to switch from: wait for one, see `pgha-ctl \
                            status`, or order a failover";
                NotDone::Refused(text.to_owned())
            })?;
        let seen = Seen::of(joined);
        let timing = view.state.settings.lease();
        let told = joined.grants.view(record.epoch, timing).flush_lsn;
        let target = request.to.map(MemberName);
        let targets = Targets {
            state: &view.state,
            seen: &seen,
            primary: Some(&record.node),
        };
        match &target {
            Some(target) => targets.ready(target, told),
            None => targets.any_ready(told),
        }
        .map_err(NotDone::Refused)?;
        let timeout_ms = if request.timeout_ms == 0 {
            TIMEOUT_DEFAULT_MS
        } else {
            request.timeout_ms
        };
        let command = Command::Handover {
            epoch: record.epoch,
            target: target.clone(),
            deadline_ms: timeout_ms.min(HANDOVER_MAX_MS),
        };
        let to = target
            .as_ref()
            .map_or_else(|| "the best replica".to_owned(), ToString::to_string);
        propose(joined, command).await?;
        progress(sender, format!("{} hands over to {to}", record.node)).await;
        self.follow_change(record.epoch, timeout_ms, target.as_ref(), sender)
            .await;
        Ok(())
    }

    /// An ordered failover: ends the epoch whether its holder answers or not.
    pub(super) async fn fail_over(
        &self,
        request: v1::FailoverRequest,
        sender: &Sender,
    ) -> Result<(), NotDone> {
        let joined = self
            .joined()
            .map_err(|status| NotDone::Refused(status.message().to_owned()))?;
        let view = joined.raft.state().borrow().clone();
        let target = MemberName(request.to);
        let targets = Targets {
            state: &view.state,
            seen: &Seen::of(joined),
            primary: view.state.primary().map(|record| &record.node),
        };
        targets.answering(&target).map_err(NotDone::Refused)?;
        let epoch = view.state.epoch;
        let command = Command::Revoke(Revoke {
            expected: epoch,
            cause: Cause::OperatorFailover {
                target: target.clone(),
                allow_data_loss: request.allow_data_loss,
            },
            leader: self.0.config.name.clone(),
            at: wall_clock(),
            steps: vec![Step {
                name: "seen".to_owned(),
                ms: 0,
            }],
        });
        propose(joined, command).await?;
        progress(
            sender,
            format!("epoch {epoch} is revoked in favour of {target}"),
        )
        .await;
        let timeout_ms = if request.timeout_ms == 0 {
            TIMEOUT_DEFAULT_MS
        } else {
            request.timeout_ms
        };
        self.follow_change(epoch, timeout_ms, Some(&target), sender)
            .await;
        Ok(())
    }

    /// Tells what happens until a later epoch than `from` has opened.
    async fn follow_change(
        &self,
        from: Epoch,
        timeout_ms: u64,
        target: Option<&MemberName>,
        sender: &Sender,
    ) {
        let Ok(joined) = self.joined() else { return };
        let mut state = joined.raft.state();
        let deadline = clock::now() + Duration::from_millis(timeout_ms);
        let mut told = String::new();
        loop {
            let view = state.borrow_and_update().clone();
            let last = view
                .state
                .journal
                .iter()
                .rev()
                .find(|entry| entry.epoch > from);
            if let Some(entry) = last.filter(|entry| entry.opened) {
                return concluded(entry, target, sender).await;
            }
            if last.is_none() && view.state.epoch == from && view.state.handover.is_none() {
                let text = "the handover was given up; the primary stays".to_owned();
                return outcome(sender, Kind::Failed, text, None).await;
            }
            let text = last.map_or_else(
                || "checkpoint, then the old primary stops".to_owned(),
                |entry| match &entry.primary {
                    Some(primary) => format!("{primary} becomes primary of epoch {}", entry.epoch),
                    None => format!("epoch {}: positions are being reported", entry.epoch),
                },
            );
            if text != told {
                progress(sender, text.clone()).await;
                told = text;
            }
            let rest = deadline.since(clock::now());
            if rest.is_zero() {
                let waiting = joined.published.borrow().why.cluster.clone();
                let why = waiting.map_or(told, |(_, text)| text);
                let text = format!("no outcome within {timeout_ms} ms: {why}");
                return outcome(sender, Kind::TimedOut, text, None).await;
            }
            let _ = tokio::time::timeout(rest, state.changed()).await;
        }
    }
}

async fn concluded(entry: &JournalEntry, target: Option<&MemberName>, sender: &Sender) {
    let primary = entry.primary.clone().unwrap_or_default();
    let wire = Some(explain::entry(entry));
    let timeline = entry.timeline.unwrap_or_default();
    let text = format!(
        "{primary} is primary of epoch {}, timeline {timeline}",
        entry.epoch
    );
    match target.filter(|target| **target != primary) {
        Some(target) => {
            let text = format!("{target} could not take over; {text}");
            outcome(sender, Kind::Failed, text, wire).await;
        }
        None => outcome(sender, Kind::Done, text, wire).await,
    }
}

async fn propose(joined: &Joined, command: Command) -> Result<(), NotDone> {
    match joined.raft.propose(command, PROPOSE_MAX).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(refusal)) => Err(NotDone::Refused(refusal.to_string())),
        Err(error @ ProposeError::NotLeader { .. }) => Err(NotDone::Moved(error.to_string())),
        Err(error) if error.outcome_is_unknown() => Err(NotDone::Unknown(error.to_string())),
        Err(error) => Err(NotDone::Refused(error.to_string())),
    }
}
