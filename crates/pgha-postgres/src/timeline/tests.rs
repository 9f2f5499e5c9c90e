mod text;

use super::*;

fn data_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("pg_wal")).unwrap();
    dir
}

fn write(dir: &Path, timeline: u32, text: &str) {
    fs::write(history_path(dir, TimelineId(timeline)), text).unwrap();
}

#[test]
fn blocks_the_numbers_between_and_keeps_what_is_there() {
    let dir = data_dir();
    write(dir.path(), 3, "1\t0/3000000\tkept\n");
    block_timelines(dir.path(), TimelineId(1), TimelineId(5)).unwrap();
    block_timelines(dir.path(), TimelineId(1), TimelineId(5)).unwrap();
    let mut found = histories(dir.path()).unwrap();
    found.sort();
    assert_eq!(
        found,
        [(TimelineId(2), 0), (TimelineId(3), 17), (TimelineId(4), 0)]
    );
}

#[test]
fn never_assigns_a_number_twice_or_backwards() {
    let dir = data_dir();
    write(dir.path(), 4, "1\t0/3000000\tx\n");
    let block = |own, assigned| block_timelines(dir.path(), TimelineId(own), TimelineId(assigned));
    assert!(matches!(block(1, 4), Err(TimelineError::Taken { .. })));
    assert!(matches!(block(4, 4), Err(TimelineError::NotAbove { .. })));
    assert!(matches!(
        block(1, 4_000_000_000),
        Err(TimelineError::Gap { .. })
    ));
}

#[test]
fn unblocks_only_what_leads_nowhere() {
    let dir = data_dir();
    for (timeline, text) in [(2, ""), (3, "1\t0/3000000\tx\n"), (4, ""), (5, "")] {
        write(dir.path(), timeline, text);
    }
    let removed = unblock_timelines(dir.path(), TimelineId(1)).unwrap();
    assert_eq!(removed, [TimelineId(4), TimelineId(5)]);
    assert!(history_path(dir.path(), TimelineId(2)).exists());
    assert_eq!(newest_history(dir.path()).unwrap(), Some(TimelineId(3)));
}

#[test]
fn reads_what_postgresql_writes() {
    let text = "1\t0/3000060\tno recovery target specified\n\n2\t0/40375A8\tno recovery target specified\n";
    let ancestors = parse_history(TimelineId(3), text).unwrap();
    assert_eq!(ancestors.len(), 2);
    assert_eq!(
        ancestors[1],
        Ancestor {
            timeline: TimelineId(2),
            switch: Lsn(0x0403_75A8)
        }
    );
}

/// A candidate that was short of the fork of a timeline whose history file it held.
#[test]
fn a_history_that_goes_back_voids_the_promotion() {
    let dir = data_dir();
    write(dir.path(), 3, "1\t0/40375A8\tx\n2\t0/4018058\tx\n");
    let error = verify_promoted(dir.path(), TimelineId(2), TimelineId(3)).unwrap_err();
    assert!(
        matches!(
            error,
            TimelineError::NotIncreasing {
                at: TimelineId(2),
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_promotion_must_have_grown_out_of_its_parent() {
    let dir = data_dir();
    write(dir.path(), 4, "1\t0/3000060\tx\n");
    let verify =
        |parent, assigned| verify_promoted(dir.path(), TimelineId(parent), TimelineId(assigned));
    assert_eq!(verify(1, 4).unwrap(), Lsn(0x0300_0060));
    assert!(matches!(verify(2, 4), Err(TimelineError::Parent { .. })));
    assert!(matches!(verify(1, 5), Err(TimelineError::NoHistory { .. })));
}
