//! Any commands, lost, repeated and late: the same on every member, and each counts once.

use proptest::prelude::*;

use super::*;
use crate::command::{Command, Create, Opened, Primary, Recover, Revoke};
use crate::journal::{JOURNAL_ENTRIES_MAX, LostRange};
use crate::lineage::Lineage;
use crate::{Addresses, MemberKind, RaftId, StoreId};

/// What a command is made of: small numbers, so that one often fits another.
#[derive(Clone, Copy, Debug)]
struct Draw {
    what: u8,
    node: u64,
    /// Beyond the newest epoch or version; mostly none.
    beyond: i64,
    small: u32,
}

fn draw() -> impl Strategy<Value = Draw> {
    let beyond = prop_oneof![6 => Just(0), 1 => -2_i64..3];
    (0_u8..16, 1_u64..5, beyond, 0_u32..4).prop_map(|(what, node, beyond, small)| Draw {
        what,
        node,
        beyond,
        small,
    })
}

fn name(number: u64) -> MemberName {
    format!("n{number}").into()
}

/// n3 is a witness, and there is no n4 at first.
pub(super) fn member(number: u64, raft_id: u64) -> Member {
    let kind = if number == 3 {
        MemberKind::Witness
    } else {
        MemberKind::Data
    };
    let store = StoreId::from(format!("s{raft_id}"));
    Member::new(kind, RaftId(raft_id), store, Addresses::default())
}

pub(super) fn create(id: u32) -> Command {
    Command::Create(Create {
        cluster: "main".to_owned(),
        cluster_id: ClusterId::from(format!("c{id}")),
        generation: Generation(1),
        members: (1..=3).map(|id| (name(id), member(id, id))).collect(),
        settings: Settings::default(),
        replication_secret: Secret::default(),
    })
}

fn near(number: u64, beyond: i64) -> u64 {
    number.saturating_add_signed(beyond)
}

/// A command that may fit `state`, or come too early or too late for it.
fn command(state: &ClusterState, draw: Draw) -> Command {
    let epoch = Epoch(near(state.epoch.0, draw.beyond));
    let node = name(draw.node);
    match draw.what {
        0 => create(draw.small),
        1 => Command::Bootstrap {
            expected: epoch,
            node,
        },
        2..=4 => Command::Revoke(Revoke {
            expected: epoch,
            cause: match draw.small {
                0 => Cause::Switchover,
                1 => Cause::OperatorFailover {
                    target: node,
                    allow_data_loss: false,
                },
                _ => Cause::HolderRestarted,
            },
            leader: name(1),
            at: String::new(),
            steps: Vec::new(),
        }),
        5..=7 => Command::Primary(primary(state, draw, epoch)),
        8..=9 => Command::Opened(Opened {
            epoch,
            timeline: state
                .primary()
                .map_or(TimelineId(1), |record| record.timeline),
            fork_lsn: (draw.small > 1).then_some(Lsn(u64::from(draw.small))),
            fork_row_lsn: None,
            steps: Vec::new(),
        }),
        10 => Command::Handover {
            epoch,
            target: (draw.small > 0).then_some(node),
            deadline_ms: 1000,
        },
        11 => Command::HandoverEnd {
            epoch,
            why: String::new(),
        },
        12 => Command::SetSettings {
            expected_version: near(state.settings.version, draw.beyond),
            set: [("lease_ms".to_owned(), (500 + 700 * draw.small).to_string())].into(),
            unset: Vec::new(),
        },
        13 => Command::Recover(Recover {
            generation: Generation(near(state.generation.0, draw.beyond + 1)),
            epoch: Epoch(near(state.epoch.0, i64::from(draw.small))),
            survivor: node,
            told: None,
            at: String::new(),
        }),
        14 => Command::Lost {
            epoch,
            range: LostRange {
                from: Lsn(draw.node),
                to: Lsn(u64::from(draw.small) * 2),
                is_final: true,
            },
            by: node,
        },
        _ => Command::PutMember {
            replaces: state.members.get(&node).map(|known| known.raft_id),
            member: member(draw.node, 10 * draw.node + u64::from(draw.small)),
            name: node,
        },
    }
}

fn primary(state: &ClusterState, draw: Draw, epoch: Epoch) -> Primary {
    let kind = match (&state.phase, draw.small) {
        (Phase::Bootstrap { .. }, _) => StartKind::Initial,
        (_, 0 | 1) => StartKind::Promotion,
        (_, 2) => StartKind::Restart,
        _ => StartKind::Reinstatement,
    };
    Primary {
        epoch,
        node: name(draw.node),
        nonce: Nonce(draw.node),
        kind,
        timeline: TimelineId(state.lineage.highest.0 + draw.small),
        parent: state.lineage.head,
        lsn: Lsn(100),
        known_end: Lsn::ZERO,
        fork_id: (kind == StartKind::Promotion).then(|| "f".into()),
        system_identifier: Some(SystemIdentifier(7)),
        at: String::new(),
        evidence: Vec::new(),
        lost: None,
        steps: Vec::new(),
    }
}

/// A handover may be begun again once it ended, and an address be set back: these count when they come.
fn counts_once(command: &Command) -> bool {
    match command {
        Command::Create(_)
        | Command::Bootstrap { .. }
        | Command::Revoke(_)
        | Command::Primary(_)
        | Command::Opened(_)
        | Command::Recover(_)
        | Command::SetSettings { .. } => true,
        Command::Handover { .. }
        | Command::HandoverEnd { .. }
        | Command::PutMember { .. }
        | Command::Lost { .. } => false,
    }
}

/// Two members: one as it goes, one that reads its state from a snapshot before each command.
#[derive(Default)]
struct Two {
    state: ClusterState,
    other: ClusterState,
    index: u64,
    accepted: Vec<Command>,
}

impl Two {
    fn deliver(&mut self, command: &Command) -> Applied {
        self.index += 1;
        let before = self.state.clone();
        let done = self.state.apply(self.index, command);
        let snapshot = serde_json::to_vec(&self.other).expect("written");
        self.other = serde_json::from_slice(&snapshot).expect("read");
        assert_eq!(self.other.apply(self.index, command), done);
        assert_eq!(self.other, self.state, "{command:?}");
        match &done {
            Err(refusal) => assert_eq!(self.state, before, "{refusal} changed something"),
            Ok(()) => {
                let again = counts_once(command) && self.accepted.contains(command);
                assert!(!again, "counted twice: {command:?}");
                self.accepted.push(command.clone());
            }
        }
        assert!(self.state.epoch >= before.epoch, "{command:?}");
        let Lineage { highest, .. } = before.lineage;
        assert!(self.state.lineage.highest >= highest, "{command:?}");
        done
    }
}

proptest! {
    #[test]
    fn commands_count_once_and_for_all_alike(
        draws in prop::collection::vec((draw(), 0_usize..4, any::<prop::sample::Index>()), 1..80),
    ) {
        // The first entry of every log.
        let mut two = Two::default();
        prop_assert!(two.deliver(&create(0)).is_ok());
        let mut sent: Vec<Command> = Vec::new();
        for (draw, copies, late) in draws {
            let command = command(&two.state, draw);
            for copy in 0..copies {
                let before = two.state.clone();
                let done = two.deliver(&command);
                if copy > 0 && done.is_ok() {
                    prop_assert_eq!(&two.state, &before, "the second at once: {:?}", command);
                }
            }
            sent.push(command);
            let late = late.get(&sent).clone();
            let _ = two.deliver(&late);
        }
    }
}

/// The draws do reach what they are meant to reach.
#[test]
fn a_drawn_sequence_opens_a_promoted_primary() {
    let mut two = Two::default();
    let step = |two: &mut Two, what, node, small| {
        let draw = Draw {
            what,
            node,
            beyond: 0,
            small,
        };
        let command = command(&two.state, draw);
        two.deliver(&command).expect("accepted");
    };
    for (what, node, small) in [
        (0, 1, 0),
        (1, 1, 0),
        (5, 1, 1),
        (8, 1, 0),
        (12, 1, 2),
        (10, 2, 1),
        (11, 1, 0),
        (2, 1, 2),
        (5, 2, 1),
        (8, 2, 2),
        (15, 4, 0),
    ] {
        step(&mut two, what, node, small);
    }
    assert_eq!(two.state.epoch, Epoch(2));
    assert_eq!(two.state.lineage.head, TimelineId(2));
    let range = LostRange {
        from: Lsn(1),
        to: Lsn(2),
        is_final: true,
    };
    let lost = Command::Lost {
        epoch: Epoch(2),
        range,
        by: "n1".into(),
    };
    two.deliver(&lost).expect("accepted");
}

/// A renewal told how far the old primary came, and its data is gone: the shorter tail of another
/// member is not all that was lost.
#[test]
fn only_who_served_last_tells_all_that_was_lost() {
    let range = |to, is_final| LostRange {
        from: Lsn(1000),
        to: Lsn(to),
        is_final,
    };
    let entry = |epoch, primary: &str, opened, lost| JournalEntry {
        primary: Some(primary.into()),
        opened,
        lost,
        ..JournalEntry::begun(Epoch(epoch), Cause::Formation, String::new())
    };
    let mut state = ClusterState {
        journal: vec![
            entry(1, "n1", true, None),
            entry(3, "n3", true, Some(range(1200, false))),
        ],
        ..ClusterState::default()
    };
    let tells = |state: &mut ClusterState, to, by: &str| {
        let by = MemberName::from(by);
        let known = state.has_journaled(Epoch(3), &range(to, true), &by);
        state.lost(Epoch(3), range(to, true), &by).unwrap();
        assert!(state.has_journaled(Epoch(3), &range(to, true), &by));
        (known, state.journal[1].lost)
    };
    assert_eq!(
        tells(&mut state, 1050, "n2"),
        (true, Some(range(1200, false)))
    );
    assert_eq!(
        tells(&mut state, 1250, "n4"),
        (false, Some(range(1250, false)))
    );
    assert_eq!(
        tells(&mut state, 1230, "n1"),
        (false, Some(range(1250, true)))
    );
    assert_eq!(
        tells(&mut state, 1300, "n4"),
        (false, Some(range(1300, true)))
    );
    // Whoever was named since may have served unknown to the log.
    state.journal[1].lost = None;
    state.journal.insert(1, entry(2, "n2", false, None));
    state
        .lost(Epoch(3), range(1200, true), &"n1".into())
        .unwrap();
    assert_eq!(state.journal[2].lost, Some(range(1200, false)));
}

/// A full disk, all night: what was lost before is told all the same, and so is who was named meanwhile.
#[test]
fn starts_in_place_that_fail_push_nothing_out_of_the_journal() {
    let entry = |epoch, primary: &str, kind| JournalEntry {
        primary: Some(primary.into()),
        kind: Some(kind),
        ..JournalEntry::begun(Epoch(epoch), Cause::Formation, String::new())
    };
    let lost = LostRange {
        from: Lsn(1000),
        to: Lsn(1200),
        is_final: false,
    };
    let mut state = ClusterState::default();
    state.journal_push(JournalEntry {
        lost: Some(lost),
        ..entry(1, "n1", StartKind::Promotion)
    });
    for epoch in 2..=1000 {
        let name = if epoch == 500 { "n2" } else { "n1" };
        state.journal_push(entry(epoch, name, StartKind::Restart));
    }
    assert_eq!(state.journal.len(), JOURNAL_ENTRIES_MAX);
    assert_eq!(state.journal[0].lost, Some(lost));
    assert!(state.journal.is_sorted_by_key(|entry| entry.epoch));
    let named: Vec<_> = state.journal.iter().map(|e| e.epoch.0).take(4).collect();
    assert_eq!(named, [1, 499, 500, 804]);

    for epoch in 1001..=1300 {
        state.journal_push(entry(epoch, "n1", StartKind::Promotion));
    }
    assert_eq!(state.journal.len(), JOURNAL_ENTRIES_MAX);
    assert_eq!(state.journal[0].epoch, Epoch(1101));
}

/// The promotion that it was assigned for came to nothing, and may have written on it all the same (P6).
#[test]
fn a_timeline_is_assigned_once() {
    let mut two = Two::default();
    let draw = |what, node, small| Draw {
        what,
        node,
        beyond: 0,
        small,
    };
    for (what, node, small) in [
        (0, 1, 0),
        (1, 1, 0),
        (5, 1, 1),
        (8, 1, 0),
        (2, 1, 2),
        (5, 2, 1),
        (2, 1, 2),
    ] {
        let command = command(&two.state, draw(what, node, small));
        two.deliver(&command).expect("accepted");
    }
    assert_eq!(two.state.lineage.head, TimelineId(1));
    assert_eq!(two.state.lineage.highest, TimelineId(2));
    let again = command(&two.state, draw(5, 1, 0));
    assert!(matches!(two.deliver(&again), Err(Refusal::Timeline { .. })));
    let next = command(&two.state, draw(5, 1, 1));
    two.deliver(&next).expect("a new number");
}
