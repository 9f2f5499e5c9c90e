//! The choice between those who may.

use std::cmp::Reverse;

use super::super::plan::Reports;
use super::candidate::Candidate;
use super::lag::{Behind, behind, is_complete};
use super::{Input, Wait};
use crate::journal::Cause;
use crate::settings::OnPrimaryCrash;
use crate::state::Revoked;
use crate::{Lsn, MemberName, Reason, StartKind};

/// Crash recovery of no more WAL than this is surely faster than a promotion.
const QUICK_REDO_BYTES: u64 = 64 << 20;

pub(super) enum Choice<'a, 'b> {
    Elect(&'b Candidate<'a>),
    Wait,
    Stuck(Reason, String),
}

pub(super) fn choose<'a, 'b>(
    input: &Input<'_>,
    reports: &Reports<'_>,
    revoked: &Revoked,
    candidates: &'b [Candidate<'a>],
    Wait { waiting, returning }: Wait,
) -> Choice<'a, 'b> {
    let fit = || candidates.iter().filter(|c| c.refused.is_none());
    match (&revoked.cause, &revoked.target) {
        (Cause::Switchover, target) => {
            let complete = |c: &&Candidate<'_>| is_complete(input, reports, revoked, c);
            let wanted = |c: &&Candidate<'_>| target.as_ref().is_none_or(|t| *t == c.report.name);
            let next = fit().filter(complete).filter(wanted);
            if let Some(next) = next.max_by_key(|c| rank(input, revoked, c))
                && (target.is_some() || !waiting)
            {
                return Choice::Elect(next);
            }
            // Nobody else has everything: whoever stopped for it goes on.
            if let Some(former) = fit().find(|c| c.standing.former_primary)
                && !waiting
            {
                return Choice::Elect(former);
            }
        }
        (_, Some(target)) => {
            let named = candidates.iter().find(|c| c.report.name == *target);
            if let Some(named) = named
                && may_be_named(revoked, named)
                && within_order(input, reports, revoked, named)
            {
                return Choice::Elect(named);
            }
            // The old epoch is over all the same: somebody has to go on.
        }
        (_, None) => {
            if let Some(former) = fit().find(|c| former_is_preferred(input, revoked, c)) {
                let others = fit().filter(|c| is_complete(input, reports, revoked, c));
                let other = others.max_by_key(|c| rank(input, revoked, c));
                match auto(input, former, other, waiting) {
                    Some(chosen) => return Choice::Elect(chosen),
                    None => return Choice::Wait,
                }
            }
        }
    }
    if waiting {
        return Choice::Wait;
    }
    let best = fit().max_by_key(|c| rank(input, revoked, c));
    let Some(best) = best else {
        return nobody(candidates);
    };
    let lacks_something =
        !best.standing.former_primary && !is_complete(input, reports, revoked, best);
    if returning && lacks_something {
        return Choice::Wait;
    }
    let Some(behind) = behind(input, reports, revoked, best) else {
        return Choice::Elect(best);
    };
    // It lacks nothing, whatever else speaks against it.
    if let Some(former) = fit().find(|c| c.standing.former_primary) {
        return Choice::Elect(former);
    }
    let name = &best.report.name;
    let what = match behind {
        Behind::TooFar {
            lag_bytes,
            limit_bytes,
        } => format!(
            "the best candidate {name} is {lag_bytes} bytes behind, max_lag_on_failover is {limit_bytes}"
        ),
        Behind::Unknown => {
            let former = revoked.previous.as_ref().map_or("?", |p| p.node.as_str());
            format!(
                "no quorum here remembers how far {former} came, so what {name} lacks is not known: \
                 start {former}, or the voters that are away"
            )
        }
    };
    let way_out = format!("`pgha-ctl failover --to {name} --allow-data-loss` overrides");
    Choice::Stuck(Reason::LagTooHigh, format!("{what}; {way_out}"))
}

/// Between the fenced primary and a replica that has everything: a promotion is over in a fraction of
/// a second, while a restart first flushes the whole data directory. A replica that lacks anything
/// would lose it, and a restart loses nothing.
fn auto<'a, 'b>(
    input: &Input<'_>,
    former: &'b Candidate<'a>,
    complete: Option<&'b Candidate<'a>>,
    waiting: bool,
) -> Option<&'b Candidate<'a>> {
    let decided = former.standing.running
        || !former.standing.end_is_exact
        || input.state.settings.on_primary_crash != OnPrimaryCrash::Auto;
    match complete {
        _ if decided => Some(former),
        Some(complete) => Some(complete),
        None => (!waiting).then_some(former),
    }
}

/// Data that left the line is the last that there is where everything else is gone: an operator who
/// accepts the loss may have it. Data that cannot prove what it is stays out.
fn may_be_named(revoked: &Revoked, candidate: &Candidate<'_>) -> bool {
    let accepted = revoked.cause.accepts_loss_for() == Some(&candidate.report.name);
    candidate.refused.is_none() || (accepted && candidate.diverged)
}

/// A target that an operator ordered is taken unless it would lose more than was allowed.
fn within_order(
    input: &Input<'_>,
    reports: &Reports<'_>,
    revoked: &Revoked,
    named: &Candidate<'_>,
) -> bool {
    let allowed = revoked.cause.accepts_loss_for() == Some(&named.report.name);
    allowed || behind(input, reports, revoked, named).is_none()
}

fn nobody<'a, 'b>(candidates: &'b [Candidate<'a>]) -> Choice<'a, 'b> {
    let refusals: Vec<String> = candidates
        .iter()
        .filter_map(|c| Some(format!("{}: {}", c.report.name, c.refused.as_ref()?)))
        .collect();
    let text = if refusals.is_empty() {
        "no data member has reported".to_owned()
    } else {
        refusals.join("; ")
    };
    Choice::Stuck(Reason::NoCandidate, text)
}

fn former_is_preferred(input: &Input<'_>, revoked: &Revoked, candidate: &Candidate<'_>) -> bool {
    if !candidate.standing.former_primary {
        return false;
    }
    if candidate.standing.running {
        return true;
    }
    if candidate.report.shutting_down || restart_failed(input, revoked) {
        return false;
    }
    match input.state.settings.on_primary_crash {
        OnPrimaryCrash::Restart => true,
        OnPrimaryCrash::Failover => false,
        OnPrimaryCrash::Auto => candidate
            .standing
            .redo_bytes
            .is_some_and(|bytes| bytes <= QUICK_REDO_BYTES),
    }
}

/// A restart that did not come to serve is not tried a second time before the others, if there are any.
fn restart_failed(input: &Input<'_>, revoked: &Revoked) -> bool {
    let previous = revoked.previous.as_ref();
    previous.is_some_and(|previous| previous.kind == StartKind::Restart && !previous.opened)
        && input.state.data_members().count() > 1
}

/// The newer timeline, then end of WAL, then priority, then the first name. A timeline that nobody
/// knows to have opened may have served all the same: its writes are the newer ones, however far the
/// tail goes that an older timeline was left with. With `on_primary_crash = failover`, and where the
/// fenced primary has just failed to start, a replica within the limit goes before it.
fn rank(
    input: &Input<'_>,
    revoked: &Revoked,
    candidate: &Candidate<'_>,
) -> (bool, crate::TimelineId, Lsn, u32, Reverse<MemberName>) {
    let position = &candidate.standing.position;
    let name = candidate.report.name.clone();
    let priority = input
        .state
        .members
        .get(&name)
        .map_or(0, |member| member.priority);
    let replica_preferred = input.state.settings.on_primary_crash == OnPrimaryCrash::Failover
        && input.state.data_members().count() > 1;
    let stays =
        candidate.standing.former_primary && (replica_preferred || restart_failed(input, revoked));
    (
        !stays,
        position.timeline,
        position.end,
        priority,
        Reverse(name),
    )
}
