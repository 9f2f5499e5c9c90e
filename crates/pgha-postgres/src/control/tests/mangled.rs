//! Output that is not what `pg_controldata` printed: refused, or read as it says, never otherwise.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::reader::{Reader, STATES};
use super::*;

/// What `pg_controldata` prints for `control`: the fixture with other values.
fn printed(control: &ControlData) -> String {
    let lines: Vec<_> = FIFTEEN.lines().map(|line| line_of(control, line)).collect();
    lines.join("\n") + "\n"
}

fn line_of(control: &ControlData, fixture: &str) -> String {
    let (key, old) = fixture.split_once(':').unwrap();
    let word = |is: bool, yes: &str, no: &str| if is { yes.to_owned() } else { no.to_owned() };
    let floor = &control.floor;
    let value = match key {
        "Database system identifier" => control.system_identifier.to_string(),
        "Database cluster state" => {
            let mut states = STATES.iter().filter(|(_, state)| *state == control.state);
            states.next().unwrap().0.to_owned()
        }
        "Latest checkpoint location" => control.checkpoint.to_string(),
        "Latest checkpoint's REDO location" => control.redo.to_string(),
        "Latest checkpoint's TimeLineID" => control.timeline.to_string(),
        "Minimum recovery ending location" => control.min_recovery_end.to_string(),
        "Min recovery ending loc's timeline" => control.min_recovery_timeline.to_string(),
        "End-of-backup record required" => word(control.backup_end_required, "yes", "no"),
        "Data page checksum version" => word(control.checksums, "1", "0"),
        "wal_log_hints setting" => word(control.wal_log_hints, "on", "off"),
        "wal_level setting" => control.wal_level.clone(),
        "Bytes per WAL segment" => control.wal_segment_bytes.to_string(),
        "max_connections setting" => floor.max_connections.to_string(),
        "max_worker_processes setting" => floor.max_worker_processes.to_string(),
        "max_wal_senders setting" => floor.max_wal_senders.to_string(),
        "max_prepared_xacts setting" => floor.max_prepared_transactions.to_string(),
        "max_locks_per_xact setting" => floor.max_locks_per_transaction.to_string(),
        _ => old.trim().to_owned(),
    };
    format!("{:<38}{value}", format!("{key}:"))
}

prop_compose! {
    fn any_control()(
        system_identifier: u64,
        (_, state) in select(&STATES[..]),
        (checkpoint, redo, min_recovery_end) in any::<(u64, u64, u64)>(),
        (timeline, min_recovery_timeline) in any::<(u32, u32)>(),
        (backup_end_required, checksums, wal_log_hints) in any::<(bool, bool, bool)>(),
        wal_level in select(&["minimal", "replica", "logical"][..]),
        segment_exponent in 20..=30_u32,
        floor: [u32; 5],
    ) -> ControlData {
        let [connections, workers, senders, prepared, locks] = floor;
        ControlData {
            system_identifier: SystemIdentifier(system_identifier),
            state,
            checkpoint: Lsn(checkpoint),
            redo: Lsn(redo),
            timeline: TimelineId(timeline),
            min_recovery_end: Lsn(min_recovery_end),
            min_recovery_timeline: TimelineId(min_recovery_timeline),
            backup_end_required,
            checksums,
            wal_log_hints,
            wal_level: wal_level.to_owned(),
            wal_segment_bytes: 1 << segment_exponent,
            floor: StandbyFloor {
                max_connections: connections,
                max_worker_processes: workers,
                max_wal_senders: senders,
                max_prepared_transactions: prepared,
                max_locks_per_transaction: locks,
            },
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Damage {
    ReplaceByte(u8),
    RemoveByte,
    InsertByte(u8),
    ChangeDigit(u8),
    Line(LineDamage),
}

#[derive(Clone, Copy, Debug)]
enum LineDamage {
    Drop,
    Repeat,
    Swap(Index),
    ValueOf(Index),
    Respace(usize),
}

fn any_damage() -> impl Strategy<Value = Damage> {
    let byte = || prop_oneof![select(&b"0123456789:/+- \t\r\n\x0b\0onf"[..]), any::<u8>()];
    let line = prop_oneof![
        Just(LineDamage::Drop),
        Just(LineDamage::Repeat),
        any::<Index>().prop_map(LineDamage::Swap),
        any::<Index>().prop_map(LineDamage::ValueOf),
        (0..60_usize).prop_map(LineDamage::Respace),
    ];
    prop_oneof![
        1 => byte().prop_map(Damage::ReplaceByte),
        1 => Just(Damage::RemoveByte),
        1 => byte().prop_map(Damage::InsertByte),
        1 => (b'0'..=b'9').prop_map(Damage::ChangeDigit),
        5 => line.prop_map(Damage::Line),
    ]
}

fn damage(text: &mut Vec<u8>, damage: Damage, at: Index) {
    let at_byte = at.index(text.len());
    match damage {
        Damage::ReplaceByte(byte) => text[at_byte] = byte,
        Damage::RemoveByte => {
            text.remove(at_byte);
        }
        Damage::InsertByte(byte) => text.insert(at_byte, byte),
        Damage::ChangeDigit(digit) => {
            let all = text.iter_mut().filter(|byte| byte.is_ascii_digit());
            let mut all: Vec<_> = all.collect();
            let chosen = at.index(all.len());
            *all[chosen] = digit;
        }
        Damage::Line(damage) => {
            let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::to_vec);
            let mut lines: Vec<_> = lines.collect();
            let line = at.index(lines.len());
            damage_line(&mut lines, damage, line);
            *text = lines.join(&b'\n');
        }
    }
}

fn damage_line(lines: &mut Vec<Vec<u8>>, damage: LineDamage, at: usize) {
    let of = |line: &[u8]| {
        let colon = line.iter().position(|&byte| byte == b':');
        let (key, value) = line.split_at(colon.map_or(0, |colon| colon + 1));
        (key.to_vec(), value.to_vec())
    };
    let (key, value) = of(&lines[at]);
    match damage {
        LineDamage::Drop => {
            lines.remove(at);
        }
        LineDamage::Repeat => lines.push(lines[at].clone()),
        LineDamage::Swap(other) => {
            let other = other.index(lines.len());
            lines.swap(at, other);
        }
        LineDamage::ValueOf(other) => {
            let (_, value) = of(&lines[other.index(lines.len())]);
            lines[at] = [key, value].concat();
        }
        LineDamage::Respace(spaces) => {
            lines[at] = [&key, &*vec![b' '; spaces], value.trim_ascii()].concat();
        }
    }
}

proptest! {
    #[test]
    fn every_value_comes_back(control in any_control()) {
        prop_assert_eq!(ControlData::parse(&printed(&control)).unwrap(), control);
    }

    #[test]
    fn a_text_is_refused_that_was_cut_before_the_last_value(control in any_control(), cut: Index) {
        let text = printed(&control);
        let cut = cut.index(text.len());
        let after_last = text.find("\nMock authentication nonce").unwrap();
        match ControlData::parse(&text[..cut]) {
            Ok(read) => prop_assert_eq!(read, control),
            Err(error) => prop_assert!(cut < after_last, "{error}"),
        }
    }

    #[test]
    fn a_mangled_text_is_refused_or_read_as_it_says(
        control in any_control(),
        damages in prop::collection::vec((any_damage(), any::<Index>()), 1..4),
    ) {
        let mut bytes = printed(&control).into_bytes();
        for (one, at) in damages {
            damage(&mut bytes, one, at);
        }
        let text = String::from_utf8_lossy(&bytes);
        prop_assert_eq!(ControlData::parse(&text).ok(), Reader(&text).control());
    }
}
