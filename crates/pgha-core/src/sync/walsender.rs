//! What a walsender does with a confirmation.

use super::set::{Method, SyncSet};
use crate::Lsn;

/// One walsender of the primary, streaming.
#[derive(Clone, Copy, Debug)]
pub struct Walsender<'a, N> {
    /// Its standby.
    pub standby: &'a N,
    /// The configuration that this walsender has read, perhaps not the newest.
    pub set: &'a SyncSet<N>,
    /// How far its standby has confirmed that WAL is on disk.
    pub flushed: Lsn,
}

/// Up to where the walsender with this index lets waiting commits go when its standby confirms. `None`
/// where it does not decide, or too few of those whom it counts are there.
///
/// It takes count and method from its own configuration, and whom it counts from what each of the others
/// has set for itself by its own.
pub fn released_by<N: Ord + Clone>(judge: usize, walsenders: &[Walsender<'_, N>]) -> Option<Lsn> {
    let own = walsenders.get(judge)?.set;
    own.priority(walsenders[judge].standby)?;
    if own.count() == 0 {
        return None;
    }
    let prioritized = walsenders.iter().enumerate().filter_map(|(index, one)| {
        let priority = one.set.priority(one.standby)?;
        Some((priority, index, one.flushed))
    });
    let mut candidates: Vec<_> = prioritized.collect();
    if candidates.len() < own.count() {
        return None;
    }
    match own.method() {
        Method::Quorum => {
            candidates.sort_unstable_by_key(|(_, _, flushed)| std::cmp::Reverse(*flushed));
            Some(candidates[own.count() - 1].2)
        }
        Method::Priority => {
            candidates.sort_unstable();
            candidates.truncate(own.count());
            let chosen = candidates.iter().any(|(_, index, _)| *index == judge);
            let slowest = candidates.iter().map(|(_, _, flushed)| *flushed).min();
            slowest.filter(|_| chosen)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[u8], count: usize, method: Method) -> SyncSet<u8> {
        SyncSet::new(names.to_vec(), count, method).expect("valid")
    }

    #[test]
    fn a_walsender_counts_whom_others_have_listed_by_its_own_count() {
        let old = set(&[1, 2], 2, Method::Quorum);
        let new = set(&[1, 2, 3], 1, Method::Quorum);
        let one = |standby, set, flushed| Walsender {
            standby,
            set,
            flushed: Lsn(flushed),
        };
        let all = [one(&1, &old, 30), one(&2, &old, 10), one(&3, &new, 20)];
        assert_eq!(released_by(0, &all), Some(Lsn(20)));
        assert_eq!(released_by(2, &all), Some(Lsn(30)));
        let unlisted = [one(&1, &old, 30), one(&3, &old, 20)];
        assert_eq!(released_by(0, &unlisted), None);
        assert_eq!(released_by(1, &unlisted), None);
    }

    #[test]
    fn the_first_of_the_list_are_waited_for() {
        let first = set(&[1, 2, 3], 2, Method::Priority);
        let one = |standby, flushed| Walsender {
            standby,
            set: &first,
            flushed: Lsn(flushed),
        };
        let all = [one(&3, 30), one(&1, 20), one(&2, 10)];
        assert_eq!(released_by(0, &all), None);
        assert_eq!(released_by(1, &all), Some(Lsn(10)));
        assert_eq!(released_by(1, &all[..2]), Some(Lsn(20)));
    }
}
