//! A report for tests.

use pgha_core::report::{GrantReport, MemberReport, MemberState, Role};
use pgha_core::{Addresses, Epoch, MemberKind, Nonce, RaftId};
use pgha_proto::v1;

pub(super) fn report_of(name: &str, raft_id: u64, store: &str) -> v1::Report {
    let report = MemberReport {
        name: name.into(),
        raft_id: RaftId(raft_id),
        store_id: store.into(),
        nonce: Nonce(1),
        kind: MemberKind::Data,
        addresses: Addresses::default(),
        adopted: Epoch(1),
        applied_index: 1,
        store_sequence: 1,
        role: Role::Replica,
        state: MemberState::Streaming,
        reason: None,
        detail: None,
        timeline: None,
        received: None,
        replayed: None,
        system_identifier: None,
        standing: None,
        gate_open: None,
        grant: GrantReport::default(),
        opened: None,
        checkpointed: None,
        slots: Vec::new(),
        lost: None,
        shutting_down: false,
        restart_pending: Vec::new(),
    };
    v1::Report {
        identity: None,
        sequence: 1,
        report_json: serde_json::to_vec(&report).unwrap(),
        ..v1::Report::default()
    }
}
