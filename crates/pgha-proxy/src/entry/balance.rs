//! Spreads read-only sessions over the replicas.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::routes::{ReadOnlyAddress, ReadOnlyTarget};

/// A target that failed comes last for this long.
const AVOID_FOR: Duration = Duration::from_secs(2);
/// Targets remembered; far more than a cluster has members.
const TARGETS_MAX: usize = 64;

#[derive(Default)]
struct Load {
    sessions: Arc<AtomicUsize>,
    avoid_until: Option<Instant>,
}

/// Fewest sessions for its weight first, as counted by this sidecar; ties go round.
#[derive(Default)]
pub(crate) struct Balancer {
    loads: Mutex<HashMap<String, Load>>,
    turn: AtomicUsize,
}

impl Balancer {
    /// The targets in the order in which they are to be tried.
    pub(super) fn order<'a>(
        &self,
        targets: &'a [ReadOnlyTarget],
    ) -> Vec<(&'a ReadOnlyTarget, Arc<AtomicUsize>)> {
        let now = Instant::now();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        if loads.len() > TARGETS_MAX {
            loads.retain(|_, load| load.sessions.load(Ordering::Relaxed) > 0);
        }
        let mut order: Vec<_> = targets
            .iter()
            .enumerate()
            .map(|(index, target)| {
                let load = loads.entry(key(target)).or_default();
                let avoided = load.avoid_until.is_some_and(|until| now < until);
                let sessions = load.sessions.load(Ordering::Relaxed) as u64;
                // In thousandths, so that weights up to a thousand still tell loads apart.
                let share = sessions * 1000 / u64::from(target.weight.max(1));
                let place = (index + targets.len() - turn % targets.len()) % targets.len();
                (
                    (avoided, share, place),
                    (target, Arc::clone(&load.sessions)),
                )
            })
            .collect();
        order.sort_by_key(|(rank, _)| *rank);
        order.into_iter().map(|(_, entry)| entry).collect()
    }

    /// Puts a target last for a while.
    pub(super) fn avoid(&self, key: &str) {
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(load) = loads.get_mut(key) {
            load.avoid_until = Some(Instant::now() + AVOID_FOR);
        }
    }
}

/// What tells targets apart.
pub(super) fn key(target: &ReadOnlyTarget) -> String {
    match &target.address {
        ReadOnlyAddress::Local { postgres } => postgres.to_string(),
        ReadOnlyAddress::Remote { address } => address.clone(),
    }
}

/// A session in the count of its target.
pub(crate) struct LoadTicket(Arc<AtomicUsize>);

impl LoadTicket {
    pub(super) fn take(sessions: Arc<AtomicUsize>) -> Self {
        sessions.fetch_add(1, Ordering::Relaxed);
        Self(sessions)
    }
}

impl Drop for LoadTicket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str, weight: u32) -> ReadOnlyTarget {
        ReadOnlyTarget {
            member: name.into(),
            address: ReadOnlyAddress::Remote {
                address: format!("{name}:1"),
            },
            weight,
        }
    }

    fn open(balancer: &Balancer, targets: &[ReadOnlyTarget]) -> (String, LoadTicket) {
        let (first, sessions) = balancer.order(targets).swap_remove(0);
        (first.member.to_string(), LoadTicket::take(sessions))
    }

    #[tokio::test]
    async fn spreads_by_weight_and_follows_ends() {
        let balancer = Balancer::default();
        let targets = [target("n1", 1), target("n2", 2)];
        let sessions: Vec<_> = (0..30).map(|_| open(&balancer, &targets)).collect();
        let on_n1 = sessions.iter().filter(|(name, _)| name == "n1").count();
        assert_eq!(on_n1, 10);
        let (ended, kept): (Vec<_>, Vec<_>) =
            sessions.into_iter().partition(|(name, _)| name == "n2");
        drop(ended);
        assert!((0..10).all(|_| open(&balancer, &targets).0 == "n2"));
        drop(kept);
    }

    #[tokio::test]
    async fn idle_targets_take_turns_and_a_failed_one_comes_last() {
        let balancer = Balancer::default();
        let targets = [target("n1", 1), target("n2", 1), target("n3", 1)];
        let firsts: Vec<_> = (0..3).map(|_| open(&balancer, &targets).0).collect();
        assert_eq!(firsts, ["n1", "n2", "n3"]);
        balancer.avoid("n2:1");
        for _ in 0..3 {
            let order = balancer.order(&targets);
            assert_eq!(order[2].0.member.as_str(), "n2");
        }
    }
}
