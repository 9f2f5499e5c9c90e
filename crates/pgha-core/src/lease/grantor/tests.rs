//! The grantor's rules, one test for each.

use super::*;

fn timing() -> LeaseTiming {
    LeaseTiming::from_millis(1500).expect("valid")
}

fn renewal(epoch: u64, nonce: u64) -> Renewal<u64> {
    Renewal {
        epoch: Epoch(epoch),
        nonce: Nonce(nonce),
        timing: timing(),
        start_wait: Duration::ZERO,
        release_hash: release_hash(&[epoch as u8]),
        flush_lsn: Lsn(epoch * 10),
        membership: 1,
        adopted: Epoch(epoch),
        held: false,
    }
}

fn ready() -> Grantor<u64> {
    let mut grantor = Grantor::started(Epoch(1), None, Some(1), Mono::ZERO, Duration::ZERO);
    grantor.set_caught_up(Duration::ZERO);
    grantor
}

#[test]
fn an_epoch_is_on_disk_before_it_is_granted() {
    let mut grantor = ready();
    assert_eq!(
        grantor.renew(Mono::ZERO, &renewal(2, 1)),
        Answer::AdoptFirst(Epoch(2))
    );
    grantor.adopt(Epoch(2));
    assert_eq!(grantor.renew(Mono::ZERO, &renewal(2, 1)), Answer::Granted);
    assert_eq!(
        grantor.renew(Mono::ZERO, &renewal(1, 1)),
        Answer::Refused(RenewalRefusal::OldEpoch)
    );
}

#[test]
fn a_longer_lease_than_it_knew_at_its_start_is_waited_for() {
    let mut grantor = Grantor::started(Epoch(1), None, Some(1), Mono::ZERO, timing().promise());
    let longer = LeaseTiming::from_millis(60_000).expect("valid");
    grantor.set_caught_up(longer.promise());
    assert_eq!(
        grantor.renew(Mono::from_millis(50_000), &renewal(1, 1)),
        Answer::Refused(RenewalRefusal::StartWait)
    );
    assert_eq!(
        grantor.renew(Mono::from_millis(60_061), &renewal(1, 1)),
        Answer::Granted
    );
}

#[test]
fn a_promise_has_to_lapse_or_be_released() {
    let mut grantor = ready();
    assert_eq!(grantor.renew(Mono::ZERO, &renewal(1, 1)), Answer::Granted);
    grantor.adopt(Epoch(2));
    let promised = Answer::Refused(RenewalRefusal::Promised);
    assert_eq!(
        grantor.renew(Mono::from_millis(1501), &renewal(2, 2)),
        promised
    );
    let mut lapsed = grantor.clone();
    assert_eq!(
        lapsed.renew(Mono::from_millis(1502), &renewal(2, 2)),
        Answer::Granted
    );
    assert_eq!(grantor.release(Epoch(1), b"guess"), Release::Unfit);
    assert_eq!(
        grantor.renew(Mono::from_millis(2), &renewal(2, 2)),
        promised
    );
    assert_eq!(grantor.release(Epoch(1), &[1]), Release::First);
    assert_eq!(
        grantor.renew(Mono::from_millis(2), &renewal(2, 2)),
        Answer::Granted
    );
}

#[test]
fn the_same_process_may_go_on_under_a_later_epoch() {
    let mut grantor = ready();
    assert_eq!(grantor.renew(Mono::ZERO, &renewal(1, 1)), Answer::Granted);
    grantor.adopt(Epoch(2));
    assert_eq!(
        grantor.renew(Mono::from_millis(1), &renewal(2, 1)),
        Answer::Granted
    );
    let old = Answer::Refused(RenewalRefusal::OldEpoch);
    assert_eq!(grantor.renew(Mono::from_millis(2), &renewal(1, 1)), old);
}

#[test]
fn only_the_secret_of_an_epoch_releases_it_however_often() {
    let mut grantor = ready();
    assert_eq!(grantor.renew(Mono::ZERO, &renewal(1, 1)), Answer::Granted);
    assert_eq!(grantor.release(Epoch(1), &[1]), Release::First);
    assert_eq!(grantor.release(Epoch(1), &[1]), Release::Again);
    assert_eq!(grantor.release(Epoch(1), b"guess"), Release::Unfit);
    assert_eq!(grantor.release(Epoch(0), b"guess"), Release::Unfit);
    grantor.adopt(Epoch(2));
    assert_eq!(grantor.renew(Mono::ZERO, &renewal(2, 2)), Answer::Granted);
    assert_eq!(grantor.release(Epoch(1), &[1]), Release::Again);
    assert_eq!(grantor.release(Epoch(1), &[2]), Release::Unfit);
    assert!(!grantor.is_released(Epoch(2)));
}

#[test]
fn an_epoch_that_nobody_can_have_reached_is_not_believed() {
    let mut grantor = ready();
    let unbelievable = Answer::Refused(RenewalRefusal::Unbelievable);
    let mut told = renewal(1, 1);
    told.adopted = Epoch(u64::MAX);
    assert_eq!(grantor.renew(Mono::ZERO, &told), unbelievable);
    let mut far = renewal(1, 1);
    far.epoch = Epoch(EPOCH_JUMP_MAX + 2);
    assert_eq!(grantor.renew(Mono::ZERO, &far), unbelievable);
    // A member that was away learns from its log how far the others are.
    grantor.know_epoch(Epoch(2), Mono::ZERO);
    assert_eq!(
        grantor.renew(Mono::ZERO, &far),
        Answer::AdoptFirst(far.epoch)
    );
}

#[test]
fn a_late_renewal_of_a_released_epoch_is_dead() {
    let mut grantor = ready();
    assert_eq!(grantor.renew(Mono::ZERO, &renewal(1, 1)), Answer::Granted);
    assert_eq!(grantor.release(Epoch(1), &[1]), Release::First);
    assert_eq!(
        grantor.renew(Mono::from_millis(1), &renewal(1, 1)),
        Answer::Refused(RenewalRefusal::Dead)
    );
    assert!(grantor.is_released(Epoch(1)));
    assert!(!grantor.is_released(Epoch(2)));
}

#[test]
fn an_epoch_belongs_to_one_process() {
    let mut grantor = ready();
    assert_eq!(grantor.renew(Mono::ZERO, &renewal(1, 1)), Answer::Granted);
    let later = Mono::from_millis(60_000);
    assert_eq!(
        grantor.renew(later, &renewal(1, 2)),
        Answer::Refused(RenewalRefusal::Dead)
    );
}

#[test]
fn a_started_voter_waits_for_promises_it_has_forgotten() {
    let mut grantor = Grantor::started(Epoch(1), None, Some(1), Mono::ZERO, timing().promise());
    grantor.set_caught_up(timing().promise());
    let wait = Answer::Refused(RenewalRefusal::StartWait);
    assert_eq!(grantor.renew(Mono::from_millis(1501), &renewal(1, 1)), wait);
    assert_eq!(
        grantor.renew(Mono::from_millis(1502), &renewal(1, 1)),
        Answer::Granted
    );
}

#[test]
fn nothing_is_granted_before_the_log_is_known() {
    let mut grantor = Grantor::started(Epoch(1), None, Some(1), Mono::ZERO, Duration::ZERO);
    let refused = Answer::Refused(RenewalRefusal::CatchingUp);
    assert_eq!(
        grantor.renew(Mono::from_millis(9000), &renewal(1, 1)),
        refused
    );
}

#[test]
fn a_changed_membership_renews_only_whom_it_supports() {
    let mut grantor = ready();
    assert_eq!(grantor.renew(Mono::ZERO, &renewal(1, 1)), Answer::Granted);
    grantor.set_membership(2, Mono::from_millis(10), timing().promise());
    let old = Answer::Refused(RenewalRefusal::Membership);
    assert_eq!(grantor.renew(Mono::from_millis(11), &renewal(1, 1)), old);
    let mut same = renewal(1, 1);
    same.membership = 2;
    same.held = true;
    assert_eq!(grantor.renew(Mono::from_millis(12), &same), Answer::Granted);
    assert_eq!(grantor.release(Epoch(1), &[1]), Release::First);
    grantor.adopt(Epoch(2));
    let mut other = renewal(2, 2);
    other.membership = 2;
    let wait = Answer::Refused(RenewalRefusal::StartWait);
    assert_eq!(grantor.renew(Mono::from_millis(13), &other), wait);
    assert_eq!(
        grantor.renew(Mono::from_millis(1512), &other),
        Answer::Granted
    );
}

#[test]
fn a_shortened_lease_does_not_shorten_the_promise() {
    let mut grantor = ready();
    let mut long = renewal(1, 1);
    long.timing = LeaseTiming::from_millis(10_000).expect("valid");
    assert_eq!(grantor.renew(Mono::ZERO, &long), Answer::Granted);
    assert_eq!(
        grantor.renew(Mono::from_millis(1), &renewal(1, 1)),
        Answer::Granted
    );
    grantor.adopt(Epoch(2));
    let promised = Answer::Refused(RenewalRefusal::Promised);
    assert_eq!(
        grantor.renew(Mono::from_millis(10_009), &renewal(2, 2)),
        promised
    );
}

#[test]
fn silence_counts_from_the_receipt_or_from_knowing_the_epoch() {
    let mut grantor = ready();
    assert_eq!(grantor.silent_at(Epoch(1), timing()), None);
    grantor.know_epoch(Epoch(1), Mono::ZERO);
    assert_eq!(
        grantor.silent_at(Epoch(1), timing()),
        Some(Mono::from_nanos(2_626_500_000))
    );
    assert_eq!(
        grantor.renew(Mono::from_millis(10), &renewal(1, 1)),
        Answer::Granted
    );
    assert_eq!(
        grantor.silent_at(Epoch(1), timing()),
        Some(Mono::from_millis(1135))
    );
    assert_eq!(grantor.flush_lsn(Epoch(1)), Some(Lsn(10)));
    assert_eq!(grantor.flush_lsn(Epoch(2)), None);
}

/// P3 is measured against it, and a voter that restarts while the primary lives need not wait to know it.
#[test]
fn who_is_refused_is_heard_all_the_same() {
    let mut grantor = Grantor::started(Epoch(1), None, Some(1), Mono::ZERO, timing().promise());
    grantor.set_caught_up(timing().promise());
    let known = |grantor: &Grantor<u64>, epoch| {
        let of = Epoch(epoch);
        (
            grantor.remembers(of),
            grantor.flush_lsn(of),
            grantor.promised(of),
        )
    };
    assert_eq!(
        known(&grantor, 1),
        (false, None, false),
        "it may have forgotten"
    );
    let wait = Answer::Refused(RenewalRefusal::StartWait);
    assert_eq!(grantor.renew(Mono::ZERO, &renewal(1, 1)), wait);
    assert_eq!(
        known(&grantor, 1),
        (false, Some(Lsn(10)), false),
        "it may be told more"
    );
    grantor.adopt(Epoch(2));
    assert_eq!(known(&grantor, 1), (true, Some(Lsn(10)), false));
    assert_eq!(known(&grantor, 2), (false, None, false));
    grantor.adopt(Epoch(3));
    assert_eq!(
        known(&grantor, 2),
        (false, None, false),
        "it may have been named before this voter was one"
    );
    grantor.set_settled(Epoch(1));
    assert_eq!(
        known(&grantor, 2),
        (true, None, false),
        "it never granted that"
    );
    // What another membership granted, it cannot tell.
    grantor.set_membership(2, Mono::ZERO, timing().promise());
    grantor.set_settled(Epoch(3));
    assert_eq!(known(&grantor, 2), (false, None, false));
}

/// The log names an epoch, then makes this member a voter; it stores both before it reads either. Others may
/// have granted that epoch by the membership before.
#[test]
fn an_epoch_named_before_it_was_a_voter_is_not_one_it_never_granted() {
    let mut grantor = ready();
    grantor.set_settled(Epoch(1));
    grantor.set_membership(2, Mono::ZERO, timing().promise());
    grantor.adopt(Epoch(3));
    assert!(!grantor.remembers(Epoch(2)), "the log is not read so far");
    grantor.set_settled(Epoch(2));
    assert!(!grantor.remembers(Epoch(2)));
    grantor.adopt(Epoch(4));
    assert!(grantor.remembers(Epoch(3)));
}

/// It has run for long when it is taken in, so that its own start is long over.
#[test]
fn who_gets_its_first_membership_waits_as_for_any_other() {
    let wait = timing().promise();
    let mut grantor: Grantor<u64> = Grantor::started(Epoch(1), None, None, Mono::ZERO, wait);
    grantor.set_caught_up(wait);
    let joined = Mono::from_millis(60_000);
    grantor.set_membership(1, joined, wait);
    let refused = Answer::Refused(RenewalRefusal::StartWait);
    assert_eq!(grantor.renew(joined, &renewal(1, 1)), refused);
    assert_eq!(
        grantor.renew(joined + wait, &renewal(1, 1)),
        Answer::Granted
    );
}

/// After a loss of power of all nodes somebody may go on by it (P3).
#[test]
fn what_was_written_of_an_earlier_process_is_known() {
    let told = Some((Epoch(2), Lsn(7)));
    let grantor = Grantor::started(Epoch(3), told, Some(1), Mono::ZERO, timing().promise());
    assert_eq!(grantor.told(), told);
    assert_eq!(grantor.flush_lsn(Epoch(2)), Some(Lsn(7)));
    assert!(grantor.remembers(Epoch(2)));
    assert!(!grantor.remembers(Epoch(3)), "it may have heard of that");
    assert!(!grantor.remembers(Epoch(1)), "newer words took its place");
}

/// A promise to somebody who only collected support stands for nothing: another one may hold a lease
/// that was never heard of here. With the voters the majorities change, and then both would hold.
#[test]
fn a_change_of_the_membership_is_waited_out_by_who_collects() {
    let mut grantor = ready();
    grantor.adopt(Epoch(2));
    assert_eq!(grantor.renew(Mono::ZERO, &renewal(2, 1)), Answer::Granted);
    let wait = timing().promise();
    grantor.set_membership(2, Mono::ZERO, wait);
    let under_new = |epoch, held| Renewal {
        membership: 2,
        held,
        ..renewal(epoch, 1)
    };
    let refused = Answer::Refused(RenewalRefusal::StartWait);
    assert_eq!(grantor.renew(Mono::ZERO, &under_new(2, false)), refused);
    // Its lease is the only one that there is.
    let held = grantor.clone().renew(Mono::ZERO, &under_new(2, true));
    assert_eq!(held, Answer::Granted);
    let later = Mono::ZERO + wait;
    assert_eq!(grantor.renew(later, &under_new(2, false)), Answer::Granted);
}

/// In the epoch before it may never have got its lease, and what it collected by the membership before
/// is no more support than that of anybody else.
#[test]
fn who_is_named_again_waits_as_anybody() {
    let wait = timing().promise();
    for epoch in [3, 4] {
        let mut grantor = ready();
        grantor.adopt(Epoch(2));
        assert_eq!(grantor.renew(Mono::ZERO, &renewal(2, 1)), Answer::Granted);
        grantor.adopt(Epoch(epoch));
        grantor.set_membership(2, Mono::ZERO, wait);
        let asked = Renewal {
            membership: 2,
            ..renewal(epoch, 1)
        };
        let refused = Answer::Refused(RenewalRefusal::StartWait);
        assert_eq!(grantor.renew(Mono::ZERO, &asked), refused, "{epoch}");
        let later = Mono::ZERO + wait;
        assert_eq!(grantor.renew(later, &asked), Answer::Granted, "{epoch}");
    }
}
