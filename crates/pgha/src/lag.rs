//! What replicas are measured against.

use pgha_core::report::{MemberReport, Role};
use pgha_core::{ClusterState, Lsn};

/// The end of the primary's WAL by what it told last. Where another one has opened since, the last
/// report of the one before counts no more: what it had beyond the line will never be replayed.
pub(crate) fn end_of_primary<'a>(
    state: &ClusterState,
    reports: impl Iterator<Item = &'a MemberReport>,
) -> Option<Lsn> {
    let opened = state.primary().filter(|record| record.opened);
    reports
        .filter(|report| report.role == Role::Primary)
        .filter(|report| opened.is_none_or(|record| record.node == report.name))
        .filter_map(|report| report.received)
        .max()
}

#[cfg(test)]
mod tests {
    use pgha_core::state::PrimaryRecord;
    use pgha_core::{
        Addresses, Epoch, Member, MemberKind, Nonce, Phase, RaftId, StartKind, TimelineId,
    };

    use super::*;

    fn primary(name: &str, end: u64) -> MemberReport {
        let member = Member::new(
            MemberKind::Data,
            RaftId(1),
            "s1".into(),
            Addresses::default(),
        );
        MemberReport {
            role: Role::Primary,
            received: Some(Lsn(end)),
            ..MemberReport::begun(name.into(), &member, Nonce(1))
        }
    }

    #[test]
    fn a_primary_of_the_past_is_no_measure_once_another_has_opened() {
        let gone = primary("n1", 0x5000);
        let new = primary("n2", 0x3000);
        let mut state = ClusterState::default();
        let end = |state: &ClusterState| end_of_primary(state, [&gone, &new].into_iter());
        assert_eq!(end(&state), Some(Lsn(0x5000)), "nobody has opened");
        state.phase = Phase::Primary(PrimaryRecord {
            epoch: Epoch(2),
            node: "n2".into(),
            nonce: Nonce(2),
            kind: StartKind::Promotion,
            timeline: TimelineId(2),
            parent: TimelineId(1),
            lsn: Lsn(0x2000),
            known_end: Lsn(0x2000),
            opened: true,
            index: 7,
        });
        assert_eq!(end(&state), Some(Lsn(0x3000)));
    }
}
