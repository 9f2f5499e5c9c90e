//! Every commit that can be acknowledged is on one of those who report, for up to five data members: a
//! primary and four standbys.

use super::*;
use crate::Lsn;

const STANDBYS: u8 = 4;

/// Every set of these standbys, in the order of their numbers.
fn sets() -> Vec<SyncSet<u8>> {
    let mut all = Vec::new();
    for mask in 0u8..1 << STANDBYS {
        let names: Vec<u8> = (0..STANDBYS).filter(|n| mask & (1 << n) != 0).collect();
        for count in 0..=names.len() {
            for method in [Method::Quorum, Method::Priority] {
                all.push(SyncSet::new(names.clone(), count, method).expect("valid"));
            }
        }
    }
    all
}

/// Whether some walsender acknowledges a commit that exactly `flushed` have, while those in `new` act on
/// the new set and the others on the old one.
fn acknowledged(old: &SyncSet<u8>, new: &SyncSet<u8>, acts: u8, flushed: u8) -> bool {
    static NAMES: [u8; STANDBYS as usize] = [0, 1, 2, 3];
    let of = |standby: &'static u8| Walsender {
        standby,
        set: if acts & (1 << standby) != 0 { new } else { old },
        flushed: Lsn(u64::from(flushed >> standby & 1)),
    };
    let walsenders: Vec<_> = NAMES.iter().map(of).collect();
    (0..walsenders.len()).any(|judge| released_by(judge, &walsenders) == Some(Lsn(1)))
}

/// How many joint sets, mixtures and commits there are, and in how many of them enough who report know
/// nothing of the commit. Of larger changes only those by quorum: priorities only make fewer count.
fn lost(
    single_steps: bool,
    enough: impl Fn(&SyncSet<u8>, &SyncSet<u8>, u8) -> bool,
) -> (usize, usize) {
    let (mut all, mut lost) = (0, 0);
    let sets = sets();
    let quorum = |set: &&SyncSet<u8>| single_steps || set.method() == Method::Quorum;
    for old in sets.iter().filter(quorum) {
        let next = |new: &&SyncSet<u8>| !single_steps || new.is_one_step_from(old);
        for new in sets.iter().filter(quorum).filter(next) {
            for mixture in 0u16..1 << (2 * STANDBYS) {
                let (acts, flushed) = ((mixture >> STANDBYS) as u8, (mixture & 0xf) as u8);
                if acknowledged(old, new, acts, flushed) {
                    all += 1;
                    lost += usize::from(enough(old, new, !flushed & 0xf));
                }
            }
        }
    }
    (all, lost)
}

fn reporting(set: &SyncSet<u8>, who: u8) -> usize {
    let reports = |name: &&u8| who & (1 << **name) != 0;
    set.names().iter().filter(reports).count()
}

fn enough_of(set: &SyncSet<u8>, who: u8) -> bool {
    set.count() > 0 && reporting(set, who) > set.names().len() - set.count()
}

fn some_may_be_promoted(joint: &InForce<u8>, who: u8) -> bool {
    let report = |member| SyncReport {
        member,
        end: Lsn(0),
        former_primary: false,
    };
    let members = || (0..STANDBYS).filter(|n| who & (1 << n) != 0);
    let reports: Vec<_> = members().map(report).collect();
    members().any(|n| may_promote(joint, &reports, &n).is_ok())
}

#[test]
fn each_acknowledgement_meets_each_promotion() {
    for single_steps in [true, false] {
        let (all, lost) = lost(single_steps, |old, new, who| {
            let joint = InForce::settled(old.clone()).at_change_of_primary(new.clone());
            some_may_be_promoted(&joint, who)
        });
        assert!(all > 10_000, "{all}");
        assert_eq!(lost, 0);
    }
}

#[test]
fn what_others_might_ask_for_loses_commits() {
    let both = |old: &_, new: &_, who| enough_of(old, who) && enough_of(new, who);
    assert!(lost(false, both).1 > 0, "enough of both sets");
    // Where only one thing changes, the larger of both numbers is that of the union.
    assert_eq!(lost(true, both).1, 0);
    let new_only = |_: &_, new: &_, who| enough_of(new, who);
    assert!(lost(true, new_only).1 > 0, "the new set only");
}

/// The old primary is lost in the middle of a step, and the new one before its promotion point is safe.
#[test]
fn no_change_of_primary_forgets_a_set_that_was_in_force() {
    let set =
        |names: &[u8], count| SyncSet::new(names.to_vec(), count, Method::Quorum).expect("valid");
    let step = InForce::settled(set(&[1, 2], 1)).begin(set(&[2], 1));
    let step = step.expect("one step");
    let replaced = step.at_change_of_primary(set(&[2], 1));
    assert_eq!(replaced.reports_needed(), Some(2));
    let again = replaced.at_change_of_primary(set(&[0, 2, 3], 2));
    assert_eq!(again.names().len(), 4);
    assert_eq!(again.reports_needed(), Some(4));
    assert!(again.begin(set(&[0, 2], 2)).is_err());
    assert_eq!(again.done(), InForce::settled(set(&[0, 2, 3], 2)));
}
