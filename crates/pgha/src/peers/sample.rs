//! A report for tests.

use pgha_core::report::{MemberReport, MemberState, Role};
use pgha_core::{Addresses, Epoch, Member, MemberKind, Nonce, RaftId};
use pgha_proto::v1;

pub(super) fn report_of(name: &str, raft_id: u64, store: &str) -> v1::Report {
    let addresses = Addresses::default();
    let member = Member::new(MemberKind::Data, RaftId(raft_id), store.into(), addresses);
    let report = MemberReport {
        adopted: Epoch(1),
        applied_index: 1,
        store_sequence: 1,
        role: Role::Replica,
        state: MemberState::Streaming,
        ..MemberReport::begun(name.into(), &member, Nonce(1))
    };
    v1::Report {
        identity: None,
        sequence: 1,
        report_json: serde_json::to_vec(&report).unwrap(),
        ..v1::Report::default()
    }
}
