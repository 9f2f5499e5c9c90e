//! From one set to another.

use super::set::SyncSet;

/// The next set on the way from one to another, where they differ: first who comes is added, then the
/// count is changed, then the method and the order, and at last who goes is taken away. In this order no
/// set on the way is one that cannot be satisfied.
pub fn next_step<N: Ord + Clone>(from: &SyncSet<N>, to: &SyncSet<N>) -> Option<SyncSet<N>> {
    let names = |names: Vec<N>, of: &SyncSet<N>, count| {
        SyncSet::new(names, count, of.method()).expect("no more are waited for than are listed")
    };
    let mut all = from.names().to_vec();
    all.extend(to.names().iter().filter(|name| !from.lists(name)).cloned());
    if all.len() > from.names().len() {
        return Some(names(all, from, from.count()));
    }
    if from.count() != to.count() {
        return Some(names(all, from, to.count()));
    }
    let mut ordered = to.names().to_vec();
    ordered.extend(all.iter().filter(|name| !to.lists(name)).cloned());
    if from.method() != to.method() || ordered != all {
        return Some(names(ordered, to, to.count()));
    }
    (from.names().len() > to.names().len()).then(|| to.clone())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Method;
    use super::*;

    fn sets() -> impl Strategy<Value = SyncSet<u8>> {
        let names = Just((0u8..5).collect::<Vec<_>>()).prop_shuffle();
        (
            names,
            0usize..=5,
            any::<prop::sample::Index>(),
            any::<bool>(),
        )
            .prop_map(|(mut names, length, count, any)| {
                names.truncate(length);
                let count = count.index(length + 1);
                let method = if any {
                    Method::Quorum
                } else {
                    Method::Priority
                };
                SyncSet::new(names, count, method).expect("valid")
            })
    }

    proptest! {
        #[test]
        fn arrives_in_single_steps(from in sets(), to in sets()) {
            let mut at = from;
            for _ in 0..4 {
                if let Some(next) = next_step(&at, &to) {
                    prop_assert!(next != at && next.is_one_step_from(&at), "{:?} after {:?}", next, at);
                    at = next;
                }
            }
            prop_assert_eq!(next_step(&at, &to), None);
            prop_assert_eq!(at, to);
        }
    }

    #[test]
    fn two_changes_at_once_are_no_step() {
        let set = |names: &[u8], count| {
            SyncSet::new(names.to_vec(), count, Method::Quorum).expect("valid")
        };
        assert!(!set(&[1, 2], 1).is_one_step_from(&set(&[1, 3], 1)));
        assert!(!set(&[1, 2], 2).is_one_step_from(&set(&[1], 1)));
        assert!(set(&[1, 2], 2).is_one_step_from(&set(&[1, 2], 1)));
        assert!(SyncSet::new(vec![1, 1], 1, Method::Quorum).is_err());
        assert!(SyncSet::new(vec![1], 2, Method::Quorum).is_err());
    }
}
