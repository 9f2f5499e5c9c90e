//! Commands of every kind.

use std::collections::BTreeMap;

use pgha_core::command::{Create, Opened, Primary, Recover, Revoke};
use pgha_core::journal::{Cause, Evidence, LostRange, Step};
use pgha_core::settings::OnPrimaryCrash;
use pgha_core::{
    Addresses, Command, Epoch, Generation, Lsn, Member, MemberKind, Nonce, RaftId, Secret,
    Settings, StartKind, SystemIdentifier, TimelineId,
};
use proptest::prelude::*;

use super::contents::number;

/// Of a new kind of command the compiler asks here, and the test below for its place in `command`.
const fn kind(command: &Command) -> usize {
    match command {
        Command::Create(_) => 0,
        Command::Bootstrap { .. } => 1,
        Command::Revoke(_) => 2,
        Command::Primary(_) => 3,
        Command::Opened(_) => 4,
        Command::Handover { .. } => 5,
        Command::HandoverEnd { .. } => 6,
        Command::SetSettings { .. } => 7,
        Command::PutMember { .. } => 8,
        Command::Recover(_) => 9,
        Command::Lost { .. } => 10,
    }
}

const KINDS: usize = 11;

#[test]
fn a_command_of_each_kind_is_made() {
    for number in 0..KINDS {
        assert_eq!(kind(&command(number, 1, "a", true)), number);
    }
}

pub(super) fn any_command() -> impl Strategy<Value = Command> {
    (0..KINDS, number(), any::<String>(), any::<bool>())
        .prop_map(|(kind, number, text, some)| command(kind, number, &text, some))
}

fn causes(number: u64, text: &str, yes: bool) -> [Cause; 8] {
    [
        Cause::Formation,
        Cause::Released { why: text.into() },
        Cause::Expired {
            reporters: vec![text.into(); 2],
        },
        Cause::HolderRestarted,
        Cause::Switchover,
        Cause::OperatorFailover {
            target: text.into(),
            allow_data_loss: yes,
        },
        Cause::PromotionFailed { why: text.into() },
        Cause::QuorumRecovered {
            survivor: text.into(),
            generation: Generation(number),
        },
    ]
}

/// All its fields of the same few things.
fn command(kind: usize, number: u64, text: &str, yes: bool) -> Command {
    let epoch = Epoch(number);
    let lsn = Lsn(number);
    let at = text.to_owned();
    let steps = vec![Step {
        name: text.into(),
        ms: number,
    }];
    let range = LostRange {
        from: lsn,
        to: lsn,
        is_final: yes,
    };
    match kind {
        0 => Command::Create(Create {
            cluster: text.into(),
            cluster_id: text.into(),
            generation: Generation(number),
            members: BTreeMap::from([(text.into(), member(number, text, yes))]),
            settings: settings(number, text, yes),
            replication_secret: Secret::new(text.into()),
        }),
        1 => Command::Bootstrap {
            expected: epoch,
            node: text.into(),
        },
        2 => Command::Revoke(Revoke {
            expected: epoch,
            cause: causes(number, text, yes)[number as usize % 8].clone(),
            leader: text.into(),
            at,
            steps,
        }),
        3 => Command::Primary(primary(number, text, yes)),
        4 => Command::Opened(Opened {
            epoch,
            timeline: TimelineId(number as u32),
            fork_lsn: yes.then_some(lsn),
            fork_row_lsn: yes.then_some(lsn),
            steps,
        }),
        5 => Command::Handover {
            epoch,
            target: yes.then(|| text.into()),
            deadline_ms: number,
        },
        6 => Command::HandoverEnd {
            epoch,
            why: text.into(),
        },
        7 => Command::SetSettings {
            expected_version: number,
            set: BTreeMap::from([(text.into(), text.into())]),
            unset: vec![text.into()],
        },
        8 => Command::PutMember {
            name: text.into(),
            replaces: yes.then_some(RaftId(number)),
            member: member(number, text, yes),
        },
        9 => Command::Recover(Recover {
            generation: Generation(number),
            epoch,
            survivor: text.into(),
            told: yes.then_some(lsn),
            at,
        }),
        _ => Command::Lost {
            epoch,
            range,
            by: text.into(),
        },
    }
}

fn primary(number: u64, text: &str, yes: bool) -> Primary {
    const STARTS: [StartKind; 4] = [
        StartKind::Initial,
        StartKind::Promotion,
        StartKind::Restart,
        StartKind::Reinstatement,
    ];
    let lsn = Lsn(number);
    let evidence = Evidence {
        member: text.into(),
        timeline: TimelineId(number as u32),
        end_of_wal: lsn,
        former_primary: yes,
        refused: yes.then(|| text.into()),
    };
    let lost = LostRange {
        from: lsn,
        to: lsn,
        is_final: yes,
    };
    Primary {
        kind: STARTS[number as usize % STARTS.len()],
        timeline: TimelineId(number as u32),
        lsn,
        known_end: lsn,
        fork_id: yes.then(|| text.into()),
        system_identifier: yes.then_some(SystemIdentifier(number)),
        evidence: vec![evidence; 2],
        lost: yes.then_some(lost),
        ..Primary::initial(
            Epoch(number),
            text.into(),
            Nonce(number),
            SystemIdentifier(number),
            text.into(),
        )
    }
}

fn member(number: u64, text: &str, yes: bool) -> Member {
    let kind = if yes {
        MemberKind::Data
    } else {
        MemberKind::Witness
    };
    let addresses = Addresses {
        raft: text.into(),
        proxy_read_only: text.into(),
        ..Addresses::default()
    };
    Member {
        priority: number as u32,
        excluded: yes,
        ..Member::new(kind, RaftId(number), text.into(), addresses)
    }
}

fn settings(number: u64, text: &str, yes: bool) -> Settings {
    const CHOICES: [OnPrimaryCrash; 3] = [
        OnPrimaryCrash::Auto,
        OnPrimaryCrash::Restart,
        OnPrimaryCrash::Failover,
    ];
    Settings {
        version: number,
        lease_ms: number,
        read_fallback_to_primary: yes,
        on_primary_crash: CHOICES[number as usize % CHOICES.len()],
        postgres_parameters: BTreeMap::from([(text.into(), text.into())]),
        ..Settings::default()
    }
}
