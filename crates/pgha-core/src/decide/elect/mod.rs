//! Who becomes primary of an epoch that has none (P4).

mod again;
mod candidate;
mod choose;
mod entry;
mod lag;

use std::time::Duration;

use super::plan::{Reports, propose};
use super::{Decision, Input};
use crate::settings::OnPrimaryCrash;
use crate::state::{PrimaryRecord, Revoked};
use crate::{Command, MemberName, Mono, Reason};
use candidate::Candidate;
use choose::Choice;

/// After the first report, the others are waited for this long.
const COLLECT_MAX: Duration = Duration::from_millis(300);
/// The fenced primary that has come back as another process is waited for this long: what nobody else was
/// told may be in its data.
const FORMER_MAX: Duration = Duration::from_secs(3);
/// Who has come back is waited for this long, where the best of the others is not known to have
/// everything.
const RETURN_MAX: Duration = Duration::from_secs(1);
/// Whom an operator named, or prefers to the fenced primary, is waited for this long.
pub(super) const TARGET_MAX: Duration = Duration::from_secs(3);

pub(super) fn elect(
    input: &Input<'_>,
    reports: &Reports<'_>,
    revoked: &Revoked,
    decision: &mut Decision,
) {
    let candidates = candidate::candidates(input, reports, revoked);
    let seen = input.state.epoch;
    let waiting = waits(input, reports, revoked, &candidates, decision);
    let returning = returns(input, reports, &candidates, decision);
    let wait = Wait { waiting, returning };
    let chosen = choose::choose(input, reports, revoked, &candidates, wait);
    match chosen {
        Choice::Elect(candidate) => {
            if let Some(text) = again::rests(input, revoked, candidate, decision) {
                decision.why.cluster = Some((Reason::StartFailed, text));
                return;
            }
            let primary = entry::entry(input, reports, revoked, &candidates, candidate);
            propose(Command::Primary(primary), decision);
        }
        Choice::Wait => {
            let text = format!("epoch {seen}: waiting for reports");
            decision.why.cluster = Some((Reason::NoPrimary, text));
        }
        Choice::Stuck(reason, text) => decision.why.cluster = Some((reason, text)),
    }
}

/// For whom the choice may have to wait.
#[derive(Clone, Copy)]
pub(super) struct Wait {
    /// Somebody who is likely to report has not done so yet.
    pub(super) waiting: bool,
    /// Somebody has come back and has not read what is asked of it.
    pub(super) returning: bool,
}

/// Whether a data member has come back so lately that it cannot have answered. What it says of itself
/// may be what made a loss known, while its data is what would make it none.
fn returns(
    input: &Input<'_>,
    reports: &Reports<'_>,
    candidates: &[Candidate<'_>],
    decision: &mut Decision,
) -> bool {
    let until = input
        .state
        .data_members()
        .filter(|(name, _)| candidates.iter().all(|c| c.report.name != **name))
        .filter(|(name, _)| reports.fresh(name).is_some_and(|r| !r.shutting_down))
        .filter_map(|(name, _)| Some(input.peers.get(name)?.since + RETURN_MAX))
        .max();
    let returning = until.filter(|until| input.now < *until);
    if let Some(until) = returning {
        decision.wake(input.now, until);
    }
    returning.is_some()
}

/// Whether somebody who is likely to report has not done so yet.
fn waits(
    input: &Input<'_>,
    reports: &Reports<'_>,
    revoked: &Revoked,
    candidates: &[Candidate<'_>],
    decision: &mut Decision,
) -> bool {
    let reported = |name: &MemberName| candidates.iter().any(|c| c.report.name == *name);
    let lives = |name: &MemberName| reports.fresh(name).is_some_and(|r| !r.shutting_down);
    let missing = input
        .state
        .data_members()
        .any(|(name, _)| !reported(name) && lives(name));
    // The first report cannot have come before the Revoke was applied.
    let mut until = input.since.phase + COLLECT_MAX;
    let untold = !lag::known_end(reports, revoked).is_told && reports.a_voter_may_tell();
    let target_missing = revoked
        .target
        .as_ref()
        .is_some_and(|target| !reported(target));
    let only_former = candidates.iter().all(|c| c.standing.former_primary);
    let replica_preferred = input.state.settings.on_primary_crash == OnPrimaryCrash::Failover;
    let former = revoked.previous.as_ref();
    let former = former.filter(|previous| !reported(&previous.node) && lives(&previous.node));
    // Reading where its WAL ends takes a program, and a busy machine its time.
    let former_preferred =
        former.is_some() && input.state.settings.on_primary_crash == OnPrimaryCrash::Restart;
    if target_missing || former_preferred || (missing && only_former && replica_preferred) {
        until = input.since.phase + TARGET_MAX;
    }
    let back_since = former.and_then(|previous| back_since(input, reports, previous));
    if let Some(since) = back_since {
        until = until.max(since + FORMER_MAX);
    }
    decision.wake(input.now, until);
    (missing || target_missing || untold || back_since.is_some()) && input.now < until
}

/// Since when the primary of the epoch that ended is heard as another process.
fn back_since(input: &Input<'_>, reports: &Reports<'_>, previous: &PrimaryRecord) -> Option<Mono> {
    let is_another = reports.fresh(&previous.node)?.nonce != previous.nonce;
    let heard = input.peers.get(&previous.node);
    is_another.then(|| heard.map_or(input.since.phase, |heard| heard.since))
}
