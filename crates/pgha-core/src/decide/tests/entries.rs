//! Entries of the log, and names in them.

use crate::command::{Command, Opened, Primary};
use crate::decide::*;
use crate::{
    Addresses, ClusterId, Epoch, Generation, Lsn, Member, Nonce, RaftId, Secret, Settings,
    StartKind, StoreId, SystemIdentifier,
};

pub(super) const IDENTIFIER: SystemIdentifier = SystemIdentifier(77);

pub(super) fn name(number: u64) -> MemberName {
    format!("n{number}").into()
}

pub(super) fn member(number: u64) -> Member {
    let store = StoreId::from(format!("s{number}"));
    let addresses = Addresses::default();
    Member::new(MemberKind::Data, RaftId(number), store, addresses)
}

pub(super) fn create() -> Command {
    Command::Create(crate::command::Create {
        cluster: "main".to_owned(),
        cluster_id: ClusterId::from("c"),
        generation: Generation(1),
        members: (1..=3).map(|id| (name(id), member(id))).collect(),
        settings: Settings::default(),
        replication_secret: Secret::default(),
    })
}

pub(super) fn primary(
    epoch: u64,
    node: u64,
    kind: StartKind,
    timeline: u32,
    parent: u32,
    lsn: u64,
) -> Command {
    Command::Primary(Primary {
        epoch: Epoch(epoch),
        node: name(node),
        nonce: Nonce(node),
        kind,
        timeline: TimelineId(timeline),
        parent: TimelineId(parent),
        lsn: Lsn(lsn),
        known_end: Lsn::ZERO,
        fork_id: (kind == StartKind::Promotion).then(|| format!("f{timeline}").into()),
        system_identifier: Some(IDENTIFIER),
        at: String::new(),
        evidence: Vec::new(),
        lost: None,
        steps: Vec::new(),
    })
}

pub(super) fn opened(epoch: u64, timeline: u32, fork: Option<u64>) -> Command {
    Command::Opened(Opened {
        epoch: Epoch(epoch),
        timeline: TimelineId(timeline),
        fork_lsn: fork.map(Lsn),
        fork_row_lsn: fork.map(|lsn| Lsn(lsn + 0x100)),
        steps: Vec::new(),
    })
}
