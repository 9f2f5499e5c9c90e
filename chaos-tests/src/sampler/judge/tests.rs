use super::*;
use proptest::prelude::*;

fn write(member: &str, timeline: u32, sent: u64, ended: u64) -> Write {
    Write {
        via: Via::Direct(member.to_owned()),
        sent: Duration::from_millis(sent),
        ended: Duration::from_millis(ended),
        server: Server {
            address: member.to_owned(),
            started_us: 1,
            timeline,
        },
        epoch: None,
    }
}

/// Of the server that was started then, in that epoch.
fn in_epoch(epoch: u64, started_us: i64, write: Write) -> Write {
    Write {
        server: Server {
            started_us,
            ..write.server
        },
        epoch: Some(epoch),
        ..write
    }
}

fn open(member: &str, epoch: u64, sent: u64, ended: u64) -> Open {
    Open {
        member: member.to_owned(),
        epoch,
        sent: Duration::from_millis(sent),
        ended: Duration::from_millis(ended),
    }
}

fn of(writes: Vec<Write>, open: Vec<Open>) -> Seen {
    Seen {
        writes,
        open,
        ..Seen::default()
    }
}

#[test]
fn one_after_the_other_is_fine() {
    let writes = vec![
        write("a", 1, 0, 10),
        write("a", 1, 20, 60),
        write("b", 2, 50, 70),
    ];
    let gates = vec![
        open("a", 1, 0, 10),
        open("b", 2, 9, 20),
        open("a", 3, 30, 40),
    ];
    assert_eq!(judge(&of(writes, gates), &[]), (Vec::new(), 0));
}

#[test]
fn a_writer_after_his_successor_is_seen() {
    let writes = vec![
        write("a", 1, 0, 10),
        write("b", 2, 20, 30),
        write("a", 1, 31, 40),
    ];
    let (wrong, _) = judge(&of(writes, Vec::new()), &[]);
    assert!(
        wrong.iter().any(|w| w.contains("two PostgreSQL")),
        "{wrong:?}"
    );
    assert!(
        wrong.iter().any(|w| w.contains("timeline went back")),
        "{wrong:?}"
    );
}

#[test]
fn twins_are_seen() {
    let writes = vec![write("a", 2, 0, 10), write("b", 2, 20, 30)];
    let (wrong, _) = judge(&of(writes, Vec::new()), &[]);
    assert!(
        wrong.iter().any(|w| w.contains("one timeline")),
        "{wrong:?}"
    );
}

#[test]
fn a_second_open_gate_is_seen() {
    let gates = vec![
        open("a", 1, 0, 10),
        open("b", 2, 20, 30),
        open("a", 1, 31, 40),
    ];
    let (wrong, _) = judge(&of(Vec::new(), gates), &[]);
    assert!(
        wrong.iter().any(|w| w.contains("two open gates")),
        "{wrong:?}"
    );
    assert!(
        wrong.iter().any(|w| w.contains("epoch went back")),
        "{wrong:?}"
    );
}

#[test]
fn an_epoch_on_two_members_is_seen() {
    let gates = vec![open("a", 1, 0, 10), open("b", 1, 20, 30)];
    let (wrong, _) = judge(&of(Vec::new(), gates), &[]);
    assert!(wrong.iter().any(|w| w.contains("one epoch")), "{wrong:?}");
}

#[test]
fn a_second_start_in_an_epoch_is_seen() {
    let at = |sent| write("a", 1, sent, sent + 10);
    let restarted = vec![in_epoch(4, 1, at(0)), in_epoch(4, 2, at(20))];
    let (wrong, _) = judge(&of(restarted, Vec::new()), &[]);
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert!(wrong[0].contains("two starts in epoch 4"), "{wrong:?}");
    let elsewhere = vec![in_epoch(4, 1, at(0)), in_epoch(4, 1, write("b", 2, 20, 30))];
    assert!(!judge(&of(elsewhere, Vec::new()), &[]).0.is_empty());
    // A restart in place has an epoch of its own, and a reinstatement is no start.
    let fine = vec![
        in_epoch(4, 1, at(0)),
        in_epoch(5, 1, at(20)),
        in_epoch(6, 2, at(40)),
    ];
    assert_eq!(judge(&of(fine, Vec::new()), &[]).0, Vec::<String>::new());
}

#[test]
fn a_write_of_an_earlier_epoch_is_seen() {
    let at = |sent| write("a", 1, sent, sent + 10);
    let back = vec![in_epoch(5, 1, at(0)), in_epoch(4, 1, at(20))];
    let (wrong, _) = judge(&of(back, Vec::new()), &[]);
    assert!(
        wrong
            .iter()
            .any(|w| w.contains("epoch of writes went back")),
        "{wrong:?}"
    );
    let overlapping = vec![in_epoch(5, 1, at(0)), in_epoch(4, 1, at(5))];
    assert_eq!(
        judge(&of(overlapping, Vec::new()), &[]).0,
        Vec::<String>::new()
    );
}

#[test]
fn only_direct_writes_to_that_member_at_that_time_are_excused() {
    let mut writes = vec![
        write("a", 1, 0, 10),
        write("b", 2, 20, 30),
        write("a", 1, 31, 40),
    ];
    let excuse = |member: &str, until| Excuse {
        member: member.to_owned(),
        from: Duration::from_millis(25),
        until: Duration::from_millis(until),
    };
    let seen = of(writes.clone(), Vec::new());
    assert_eq!(judge(&seen, &[excuse("a", 50)]), (Vec::new(), 1));
    assert!(!judge(&seen, &[excuse("c", 50)]).0.is_empty());
    assert!(!judge(&seen, &[excuse("a", 30)]).0.is_empty());
    writes[2].via = Via::Port("a".to_owned());
    assert!(
        !judge(&of(writes, Vec::new()), &[excuse("a", 50)])
            .0
            .is_empty()
    );
}

proptest! {
    /// Real commits of one server after the other are never blamed, however long the answers took.
    #[test]
    fn true_histories_pass(commits in proptest::collection::vec((0_u64..60, 0_u64..60), 1..60)) {
        let mut writes = Vec::new();
        for (index, (before, after)) in commits.iter().enumerate() {
            let at = 100 + index as u64 * 10;
            let timeline = u32::try_from(index / 7).unwrap() + 1;
            let member = ["a", "b", "c"][index / 7 % 3];
            writes.push(write(member, timeline, at - before, at + after));
        }
        prop_assert_eq!(judge(&of(writes, Vec::new()), &[]).0, Vec::<String>::new());
    }

    /// A late commit of the predecessor is blamed where its interval lies behind the successor's.
    #[test]
    fn a_late_commit_is_blamed(delay in 1_u64..1000, took in 0_u64..1000) {
        let late = 30 + delay;
        let writes = vec![write("a", 1, 0, 10), write("b", 2, 20, 30), write("a", 1, late, late + took)];
        prop_assert!(!judge(&of(writes, Vec::new()), &[]).0.is_empty());
    }
}
