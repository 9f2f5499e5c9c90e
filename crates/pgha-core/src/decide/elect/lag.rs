//! What a candidate lacks of what the old primary wrote.

use super::super::plan::Reports;
use super::Input;
use super::candidate::Candidate;
use crate::Lsn;
use crate::state::Revoked;

/// Whether a replica received all that the old primary wrote before it stopped in peace.
pub(super) fn is_complete(
    reports: &Reports<'_>,
    revoked: &Revoked,
    candidate: &Candidate<'_>,
) -> bool {
    !candidate.standing.former_primary
        && candidate.standing.position.end >= known_end(reports, revoked)
}

/// How far behind what a quorum has seen a candidate is, where that is more than allowed.
pub(super) fn behind(
    input: &Input<'_>,
    reports: &Reports<'_>,
    revoked: &Revoked,
    candidate: &Candidate<'_>,
) -> Option<(u64, u64)> {
    if candidate.standing.former_primary {
        return None;
    }
    let limit = input.state.settings.max_lag_on_failover;
    let lag = candidate
        .standing
        .position
        .end
        .bytes_behind(known_end(reports, revoked));
    (lag > limit).then_some((lag, limit))
}

/// The end of the old primary's WAL as far as anybody here knows.
pub(super) fn known_end(reports: &Reports<'_>, revoked: &Revoked) -> Lsn {
    let Some(previous) = &revoked.previous else {
        return Lsn::ZERO;
    };
    let told = reports.flush_lsn(previous.epoch).unwrap_or(previous.lsn);
    let shutdown = reports
        .released(previous.epoch)
        .and_then(|note| note.shutdown_lsn);
    let read = reports
        .all_fresh()
        .filter(|report| report.name == previous.node)
        .filter_map(|report| report.standing.as_ref())
        .find(|standing| standing.former_primary && standing.end_is_exact)
        .map(|standing| standing.position.end);
    told.max(shutdown.unwrap_or(told)).max(read.unwrap_or(told))
}
