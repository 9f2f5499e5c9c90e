//! What pgha promises, asked of what this member can see.
//!
//! The functions are those that the simulator asks after every step. A member sees less: what the log
//! says, and what the others told it last.

use std::time::Duration;

use pgha_core::gate::GateSetting;
use pgha_core::invariant::{self, GateView, Violation};
use pgha_core::journal::{Cause, JournalEntry};
use pgha_core::report::MemberReport;
use pgha_core::{ClusterState, MemberName, Mono, RaftId};

use super::Findings;

const WAY_OUT: &str =
    "a promise was broken: keep the logs of all members, and report this as a bug";

/// How old a report may be that says that a gate is open: the next one does not open before a third of
/// the lease has passed since that one closed.
pub(super) fn gate_told_max(state: &ClusterState) -> Duration {
    state.settings.lease().lease() / 3
}

/// Adds what became of each promise that can be judged from here.
pub(super) fn add<'a>(
    findings: &mut Findings,
    state: &ClusterState,
    voters: impl IntoIterator<Item = &'a RaftId>,
    reports: &[&MemberReport],
) {
    let gates = || reports.iter().filter_map(|report| gate(report));
    let one_gate = invariant::one_gate(gates());
    findings.promise("P1", "at most one gate is open", one_gate);
    let promoted = state.journal.iter().filter(|entry| is_judged(entry));
    let promoted = promoted.map(|entry| invariant::promoted(entry, ordered(entry)));
    let text = "each promotion took one that nobody fit was ahead of";
    findings.promise("P4", text, promoted.collect());
    if let Some(record) = state.primary().filter(|record| record.opened) {
        let earlier = invariant::one_promise(&record.node, record.epoch, gates());
        findings.promise("P5", "no gate of an earlier epoch is open", earlier);
    }
    let quorum = invariant::quorum(state, voters);
    findings.promise("P9", "nobody votes who was ruled out", quorum);
}

/// A report says that the gate was open when it was made, by whatever clock.
fn gate(report: &MemberReport) -> Option<GateView<'_>> {
    Some(GateView {
        member: &report.name,
        setting: GateSetting {
            epoch: report.gate_open?,
            hold_at: Mono::from_millis(1),
            close_at: Mono::from_millis(1),
        },
        now: Mono::ZERO,
    })
}

/// The target of a switchover has everything, and is not in the journal.
fn is_judged(entry: &JournalEntry) -> bool {
    !matches!(entry.cause, Cause::Switchover)
}

/// Whom an operator named, however far the others were.
const fn ordered(entry: &JournalEntry) -> Option<&MemberName> {
    match &entry.cause {
        Cause::OperatorFailover { target, .. } => Some(target),
        Cause::QuorumRecovered { survivor, .. } => Some(survivor),
        _ => None,
    }
}

impl Findings {
    fn promise(&mut self, name: &str, kept: &str, outcome: Result<(), Violation>) {
        let broken = outcome.err().map(|violation| violation.to_string());
        let broken = broken.map(|text| ("problem", text, WAY_OUT));
        self.check(name, Some(kept), broken);
    }
}

#[cfg(test)]
mod tests {
    use pgha_core::{Addresses, Epoch, Member, MemberKind, Nonce};

    use super::*;

    fn with_gate(name: &str, epoch: Option<u64>) -> MemberReport {
        let addresses = Addresses::default();
        let member = Member::new(MemberKind::Data, RaftId(1), "s1".into(), addresses);
        MemberReport {
            gate_open: epoch.map(Epoch),
            ..MemberReport::begun(name.into(), &member, Nonce(1))
        }
    }

    fn judged(state: &ClusterState, reports: &[&MemberReport]) -> Vec<(String, String)> {
        let mut findings = Findings::default();
        add(&mut findings, state, &[RaftId(1)], reports);
        let findings = findings.0.into_iter();
        findings.map(|found| (found.check, found.level)).collect()
    }

    fn level(found: &[(String, String)], check: &str) -> String {
        let found = found.iter().find(|(name, _)| name == check);
        found.map_or_else(String::new, |(_, level)| level.clone())
    }

    #[test]
    fn two_open_gates_are_a_problem_and_one_is_none() {
        let state = ClusterState::default();
        let (first, second) = (with_gate("n1", Some(1)), with_gate("n2", Some(2)));
        let closed = with_gate("n2", None);
        assert_eq!(level(&judged(&state, &[&first, &closed]), "P1"), "ok");
        assert_eq!(level(&judged(&state, &[&first, &second]), "P1"), "problem");
    }

    #[test]
    fn a_vote_of_one_that_was_ruled_out_is_a_problem() {
        let mut state = ClusterState::default();
        assert_eq!(level(&judged(&state, &[]), "P9"), "ok");
        state.ruled_out.insert(RaftId(1));
        assert_eq!(level(&judged(&state, &[]), "P9"), "problem");
    }
}
