//! What a candidate lacks of what the old primary wrote.

use super::super::plan::Reports;
use super::Input;
use super::candidate::Candidate;
use crate::Lsn;
use crate::lineage::Position;
use crate::report::Standing;
use crate::state::{PrimaryRecord, Revoked};

/// What a candidate lacks, where that is more than may be lost without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// So many bytes.
    TooFar { lag_bytes: u64, limit_bytes: u64 },
    /// The old primary may have served, and too few of those who heard how far it came remember.
    Unknown,
}

/// How far the old primary's WAL goes.
#[derive(Clone, Copy)]
pub(super) struct KnownEnd {
    pub(super) lsn: Lsn,
    /// A quorum knows what its holder told, or it was read. Otherwise it may go further.
    pub(super) is_told: bool,
}

/// Whether a replica received all that the old primary wrote before it stopped in peace.
pub(super) fn is_complete(
    input: &Input<'_>,
    reports: &Reports<'_>,
    revoked: &Revoked,
    candidate: &Candidate<'_>,
) -> bool {
    let known = known_end(reports, revoked);
    !candidate.standing.former_primary
        && known.is_told
        && has(input, revoked, &candidate.standing.position) >= known.lsn
}

/// How far behind what a quorum has seen a candidate is, where that is more than allowed (P3). A
/// figure that was lost with the memory of those who had it is no figure: after all nodes lost power
/// a replica that lags by days would count as complete.
pub(super) fn behind(
    input: &Input<'_>,
    reports: &Reports<'_>,
    revoked: &Revoked,
    candidate: &Candidate<'_>,
) -> Option<Behind> {
    if candidate.standing.former_primary {
        return None;
    }
    let known = known_end(reports, revoked);
    if !known.is_told {
        return Some(Behind::Unknown);
    }
    let limit_bytes = input.state.settings.max_lag_on_failover;
    let lag_bytes = has(input, revoked, &candidate.standing.position).bytes_behind(known.lsn);
    (lag_bytes > limit_bytes).then_some(Behind::TooFar {
        lag_bytes,
        limit_bytes,
    })
}

/// How much a position has of what the old primary had. Where an operator went back to another line,
/// or a promotion was given up, the two may have parted long before the end of either.
pub(super) fn has(input: &Input<'_>, revoked: &Revoked, position: &Position) -> Lsn {
    match &revoked.previous {
        Some(previous) => input.state.lineage.shared(position, previous.timeline),
        None => position.end,
    }
}

/// The end of the old primary's WAL as far as anybody here knows.
pub(super) fn known_end(reports: &Reports<'_>, revoked: &Revoked) -> KnownEnd {
    let Some(previous) = &revoked.previous else {
        return KnownEnd {
            lsn: Lsn::ZERO,
            is_told: true,
        };
    };
    let renewed = reports.flush_lsn(previous.epoch);
    let shutdown = reports
        .released(previous.epoch)
        .and_then(|note| note.shutdown_lsn);
    let read = reports
        .all_fresh()
        .filter(|report| report.name == previous.node)
        .filter_map(|report| report.standing.as_ref())
        .find(|standing| is_read(previous, standing))
        .map(|standing| standing.position.end);
    let exact = shutdown.max(read).max(revoked.told);
    let told = renewed.max(exact);
    // One that never opened wrote nothing by itself: what its predecessor had is still to be had, or the
    // limit would count anew from each that fails.
    let began = if previous.opened {
        previous.lsn
    } else {
        previous.lsn.max(previous.known_end)
    };
    KnownEnd {
        lsn: told.unwrap_or(began).max(began),
        // Fewer may have heard of it last long before it ended, and do not know. What never opened wrote
        // nothing for a client, but the log alone does not tell: an opening may not have reached it.
        is_told: exact.is_some() || reports.quorum_remembers(previous.epoch),
    }
}

/// Whether the old primary's own WAL was read to its end: in place, or, by a new process that does not
/// know what it was, as a standby's.
fn is_read(previous: &PrimaryRecord, standing: &Standing) -> bool {
    if standing.former_primary {
        standing.end_is_exact
    } else {
        standing.position.timeline == previous.timeline
    }
}
