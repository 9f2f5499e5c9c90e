mod mangled;
mod reader;

use super::*;

/// What version 15 prints for a fresh cluster.
const FIFTEEN: &str = include_str!("../../tests/fixtures/controldata-15.txt");

/// The same for a fresh cluster each of the others. Of 14 none was at hand: its control file has 13's number.
const OTHERS: [(&str, u64, &str); 4] = [
    (
        include_str!("../../tests/fixtures/controldata-13.txt"),
        7_711_033_499_033_585_250,
        "0/181DF98",
    ),
    (
        include_str!("../../tests/fixtures/controldata-16.txt"),
        7_711_033_503_871_227_551,
        "0/16C2D78",
    ),
    (
        include_str!("../../tests/fixtures/controldata-17.txt"),
        7_711_033_509_626_889_953,
        "0/1737848",
    ),
    (
        include_str!("../../tests/fixtures/controldata-18.txt"),
        7_711_033_511_794_755_328,
        "0/16EF458",
    ),
];

#[test]
fn reads_what_each_version_prints() {
    let fifteen = (FIFTEEN, 7_710_456_233_165_844_232, "0/17414F8");
    for (text, system_identifier, checkpoint) in OTHERS.into_iter().chain([fifteen]) {
        let control = ControlData::parse(text).unwrap();
        assert_eq!(
            control.system_identifier,
            SystemIdentifier(system_identifier)
        );
        assert_eq!(control.state, ClusterState::ShutDown);
        assert_eq!(control.checkpoint.to_string(), checkpoint);
        assert_eq!(control.redo, control.checkpoint);
        assert_eq!(control.timeline, TimelineId(1));
        assert_eq!(control.newest_timeline(), TimelineId(1));
        assert!(control.checksums);
        assert!(!control.wal_log_hints);
        assert!(!control.backup_end_required);
        assert_eq!(control.wal_level, "replica");
        assert_eq!(control.wal_segment_bytes, 16 << 20);
        assert_eq!(control.floor.max_connections, 100);
        assert_eq!(control.floor.max_locks_per_transaction, 64);
    }
}

#[test]
fn a_standby_has_the_timeline_that_it_reached() {
    let text = FIFTEEN
        .replace("shut down", "shut down in recovery")
        .replace("loc's timeline:   0", "loc's timeline:   4")
        .replace("ending location:     0/0", "ending location:     0/3000060");
    let control = ControlData::parse(&text).unwrap();
    assert_eq!(control.state, ClusterState::ShutDownInRecovery);
    assert_eq!(control.newest_timeline(), TimelineId(4));
    assert_eq!(control.min_recovery_end.to_string(), "0/3000060");
}

#[test]
fn a_damaged_control_file_is_not_believed() {
    let text =
        format!("WARNING: Calculated CRC checksum does not match value stored in file.\n{FIFTEEN}");
    assert!(matches!(
        ControlData::parse(&text),
        Err(ControlError::Damaged(_))
    ));
}

#[test]
fn an_unknown_state_is_an_error() {
    let text = FIFTEEN.replace("shut down", "unrecognized status code");
    let error = ControlData::parse(&text).unwrap_err();
    assert!(
        matches!(
            error,
            ControlError::Value {
                key: "Database cluster state",
                ..
            }
        ),
        "{error}"
    );
}

/// A mangled word must not come to mean the harmless one of two.
#[test]
fn each_pair_of_words_has_its_own_lines() {
    for (line, foreign) in [
        (
            "End-of-backup record required:        no",
            ["on", "off", "", "No"],
        ),
        (
            "wal_log_hints setting:                off",
            ["yes", "no", "", "Off"],
        ),
    ] {
        assert!(FIFTEEN.contains(line));
        let (name, _) = line.split_once(':').unwrap();
        for word in foreign {
            let read = ControlData::parse(&FIFTEEN.replace(line, &format!("{name}: {word}")));
            assert!(
                matches!(read, Err(ControlError::Value { .. })),
                "{name}: {word}"
            );
        }
    }
}

/// Later versions print the warning elsewhere, and the values as if nothing were wrong.
#[test]
fn a_warning_beside_the_values_is_heard() {
    let warning = "pg_controldata: warning: calculated CRC checksum does not match value stored \
                   in control file\npg_controldata: detail: Either the control file is corrupt";
    let damaged = ControlData::printed(FIFTEEN, warning);
    assert!(
        matches!(damaged, Err(ControlError::Damaged(_))),
        "{damaged:?}"
    );
    assert!(ControlData::printed(FIFTEEN, "").is_ok());
}
