//! What a member sees and hears.

use super::entries::{IDENTIFIER, member, name};
use super::scene::NOW;
use crate::decide::*;
use crate::journal::Cause;
use crate::lease::{Hold, LeaseTiming};
use crate::lineage::Position;
use crate::report::MemberReport;
use crate::{Epoch, Lsn, Nonce};

pub(super) fn cluster() -> DataCluster {
    DataCluster {
        system_identifier: IDENTIFIER,
        timeline: TimelineId(1),
        ..DataCluster::default()
    }
}

pub(super) fn at(timeline: u32, end: u64, rows: &[u32]) -> Position {
    Position {
        timeline: TimelineId(timeline),
        end: Lsn(end),
        fork_ids: rows
            .iter()
            .map(|t| (TimelineId(*t), format!("f{t}").into()))
            .collect(),
        left: Default::default(),
    }
}

pub(super) fn report_of(who: u64) -> MemberReport {
    MemberReport {
        adopted: Epoch(1),
        state: MemberState::Fenced,
        timeline: Some(TimelineId(1)),
        system_identifier: Some(IDENTIFIER),
        ..MemberReport::begun(name(who), &member(who), Nonce(who))
    }
}

pub(super) fn serving_primary() -> MemberReport {
    MemberReport {
        gate_open: Some(Epoch(1)),
        ..report_of(2)
    }
}

pub(super) fn expired() -> Cause {
    Cause::Expired {
        reporters: Vec::new(),
    }
}

pub(super) fn held(epoch: u64) -> LeaseView {
    let timing = LeaseTiming::from_millis(1500).expect("valid");
    LeaseView {
        epoch: Epoch(epoch),
        hold: Hold::Held(timing.deadlines(NOW)),
        deadlines: Some(timing.deadlines(NOW)),
        held_since: Some(NOW),
    }
}

pub(super) fn begins(decision: &Decision) -> Vec<JobKind> {
    let job = |action: &Action| match action {
        Action::Begin(kind) => Some(kind.clone()),
        _ => None,
    };
    decision.actions.iter().filter_map(job).collect()
}
