//! Positions on, off and beside the line.

use super::*;
use crate::journal::LostRange;
use crate::{Epoch, Lsn, TimelineId};

fn fork(parent: u32, lsn: u64, id: &str) -> Fork {
    Fork {
        epoch: Epoch(u64::from(parent) + 1),
        parent: TimelineId(parent),
        fork_lsn: Lsn(lsn),
        fork_id: id.into(),
        fork_row_lsn: Some(Lsn(lsn + 10)),
    }
}

fn position(timeline: u32, end: u64, ids: &[(u32, &str)]) -> Position {
    Position {
        timeline: TimelineId(timeline),
        end: Lsn(end),
        fork_ids: ids
            .iter()
            .map(|(t, id)| (TimelineId(*t), (*id).into()))
            .collect(),
        left: BTreeMap::new(),
    }
}

/// 1 -> 2 at 100 -> 4 at 200; 3 was assigned out of 2 at 150 and never opened.
fn lineage() -> Lineage {
    let mut lineage = Lineage::new(TimelineId(1));
    lineage.forks.insert(TimelineId(2), fork(1, 100, "b"));
    lineage.forks.insert(TimelineId(3), fork(2, 150, "x"));
    lineage.forks.insert(TimelineId(4), fork(2, 200, "c"));
    lineage.head = TimelineId(4);
    lineage.highest = TimelineId(4);
    lineage
}

#[test]
fn an_ancestor_is_on_line_up_to_its_end() {
    let lineage = lineage();
    assert_eq!(
        lineage.judge(&position(1, 100, &[]), TimelineId(4)),
        Verdict::OnLine
    );
    assert_eq!(
        lineage.judge(&position(1, 101, &[]), TimelineId(4)),
        Verdict::Diverged { at: Lsn(100) }
    );
    assert_eq!(
        lineage.judge(&position(2, 200, &[(2, "b")]), TimelineId(4)),
        Verdict::OnLine
    );
}

#[test]
fn a_twin_with_the_same_number_is_an_impostor() {
    let lineage = lineage();
    for ids in [&[][..], &[(2, "other")][..]] {
        let verdict = lineage.judge(&position(2, 120, ids), TimelineId(4));
        assert!(matches!(verdict, Verdict::Impostor { .. }), "{verdict:?}");
    }
}

#[test]
fn an_attempt_that_never_opened_is_rewound_to_its_fork() {
    let lineage = lineage();
    let attempt = position(3, 170, &[(2, "b"), (3, "x")]);
    assert_eq!(
        lineage.judge(&attempt, TimelineId(4)),
        Verdict::Diverged { at: Lsn(150) }
    );
    assert_eq!(
        lineage.may_lead(&attempt),
        Verdict::Diverged { at: Lsn(150) }
    );
}

#[test]
fn an_attempt_out_of_the_head_may_lead_when_it_proves_itself() {
    let mut lineage = lineage();
    lineage.forks.insert(TimelineId(5), fork(4, 300, "y"));
    lineage.highest = TimelineId(5);
    if let Some(attempt) = lineage.forks.get_mut(&TimelineId(5)) {
        attempt.fork_row_lsn = None;
    }
    let ids = [(2, "b"), (4, "c"), (5, "y")];
    assert_eq!(lineage.may_lead(&position(5, 310, &ids)), Verdict::OnLine);
    assert!(matches!(
        lineage.may_lead(&position(5, 310, &ids[..2])),
        Verdict::Impostor { .. }
    ));
    assert_eq!(
        lineage.may_lead(&position(4, 310, &ids[..2])),
        Verdict::OnLine
    );
    assert!(lineage.lacks_only_own_row(&position(5, 310, &ids[..2])));
    assert!(!lineage.lacks_only_own_row(&position(5, 310, &ids[..1])));
    assert!(!lineage.lacks_only_own_row(&position(5, 310, &[ids[0], ids[1], (5, "z")])));
}

#[test]
fn what_is_given_up_is_told_with_the_epoch_that_left_it() {
    let lineage = lineage();
    let told = |p: &Position| lineage.given_up(p, TimelineId(4));
    let range = |from, to| LostRange {
        from: Lsn(from),
        to: Lsn(to),
        is_final: true,
    };
    // Timeline 2 was assigned for epoch 2, timelines 3 and 4 for epoch 3 (see `fork`).
    assert_eq!(
        told(&position(1, 130, &[])),
        Some((Epoch(2), range(100, 130)))
    );
    assert_eq!(
        told(&position(2, 230, &[(2, "b")])),
        Some((Epoch(3), range(200, 230)))
    );
    assert_eq!(told(&position(2, 200, &[(2, "b")])), None);
    // A promotion that died before its row was stored had the tail of its parent.
    let mut attempt = lineage.clone();
    attempt.forks.insert(TimelineId(5), fork(2, 240, "y"));
    let without_row = position(5, 245, &[(2, "b")]);
    assert_eq!(
        attempt.given_up(&without_row, TimelineId(4)),
        Some((Epoch(3), range(200, 240)))
    );
    // An operator who goes back to timeline 4 gives up what was written on a later one.
    attempt.forks.insert(TimelineId(6), fork(4, 400, "z"));
    let later = attempt.forks.get_mut(&TimelineId(6)).unwrap();
    later.epoch = Epoch(7);
    let row = attempt.forks.get_mut(&TimelineId(5)).unwrap();
    row.epoch = Epoch(6);
    assert_eq!(
        attempt.given_up(&position(5, 260, &[(2, "b"), (5, "y")]), TimelineId(6)),
        Some((Epoch(7), range(200, 260)))
    );
    assert_eq!(told(&position(7, 900, &[])), None);
}

#[test]
fn what_a_promotion_by_hand_left_behind_is_told() {
    let lineage = lineage();
    let told = |timeline, ids: &[(u32, &str)], left: &[(u32, u64)]| {
        let mut by_hand = position(timeline, 900, ids);
        let left = left.iter().map(|(t, end)| (TimelineId(*t), Lsn(*end)));
        by_hand.left = left.collect();
        let (epoch, range) = lineage.given_up(&by_hand, TimelineId(4))?;
        Some((epoch.0, range.from.0, range.to.0))
    };
    // The number was given to nobody, or to somebody else: for timeline 3 and for timeline 4.
    for number in [7, 3, 4] {
        let left = [(1, 100), (2, 230)];
        assert_eq!(told(number, &[(2, "b")], &left), Some((3, 200, 230)));
    }
    // Twice by hand, and with a row that somebody else's promotion stored there.
    let twice = [(1, 100), (2, 230), (3, 300)];
    assert_eq!(told(4, &[(2, "b"), (4, "x")], &twice), Some((3, 200, 230)));
    // It had nothing that the line lacks.
    assert_eq!(told(7, &[(2, "b")], &[(1, 100), (2, 200)]), None);
    assert_eq!(told(7, &[], &[(1, 90)]), None);
}

#[test]
fn what_two_lines_share() {
    let lineage = lineage();
    // Timeline 1 was left at 100, timeline 2 at 150 for 3 and at 200 for 4.
    let shared = |timeline, end, with| lineage.shared(&position(timeline, end, &[]), with);
    assert_eq!(shared(1, 90, TimelineId(4)), Lsn(90));
    assert_eq!(shared(1, 130, TimelineId(4)), Lsn(100));
    assert_eq!(shared(2, 230, TimelineId(2)), Lsn(230));
    assert_eq!(shared(2, 230, TimelineId(4)), Lsn(200));
    assert_eq!(shared(3, 500, TimelineId(4)), Lsn(150));
    assert_eq!(shared(4, 500, TimelineId(3)), Lsn(150));
    // Of what was never assigned nothing is known but its end.
    assert_eq!(shared(7, 500, TimelineId(4)), Lsn(500));
}

#[test]
fn a_decision_for_an_ancestor_of_the_head_holds() {
    let mut lineage = lineage();
    // Nobody but a member at the fork of timeline 4 was left, and it died before it was known to
    // have opened.
    lineage.forks.insert(TimelineId(5), fork(2, 200, "y"));
    lineage.highest = TimelineId(5);
    let attempt = position(5, 260, &[(2, "b"), (5, "y")]);
    assert_eq!(lineage.may_lead(&attempt), Verdict::OnLine);
}

#[test]
fn what_grew_out_of_an_attempt_without_a_row_proves_itself() {
    let mut lineage = lineage();
    lineage.forks.insert(TimelineId(5), fork(4, 300, "y"));
    if let Some(attempt) = lineage.forks.get_mut(&TimelineId(5)) {
        attempt.fork_row_lsn = None;
    }
    lineage.forks.insert(TimelineId(6), fork(5, 320, "w"));
    let ids = [(2, "b"), (4, "c"), (6, "w")];
    let judged = lineage.judge(&position(6, 400, &ids), TimelineId(6));
    assert_eq!(judged, Verdict::OnLine);
    let wrong = [(2, "b"), (4, "c"), (5, "other"), (6, "w")];
    let judged = lineage.judge(&position(6, 400, &wrong), TimelineId(6));
    assert!(matches!(judged, Verdict::Impostor { .. }), "{judged:?}");
}

#[test]
fn a_promotion_by_hand_is_off_the_line_and_its_number_is_skipped() {
    let lineage = lineage();
    let by_hand = position(7, 90, &[]);
    assert!(matches!(
        lineage.may_lead(&by_hand),
        Verdict::Diverged { .. }
    ));
    assert_eq!(lineage.next([by_hand.timeline]), TimelineId(8));
    assert_eq!(lineage.next([]), TimelineId(5));
}

#[test]
fn a_promotion_by_hand_that_took_an_assigned_number_is_an_impostor() {
    let lineage = lineage();
    let verdict = lineage.may_lead(&position(4, 90, &[(2, "b")]));
    assert!(matches!(verdict, Verdict::Impostor { .. }));
}
