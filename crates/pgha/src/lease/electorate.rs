//! Whom a holder asks and a grantor knows, learned from the Raft log itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pgha_core::RaftId;
use pgha_core::lease::Quorums;
use pgha_proto::v1;
use pgha_raft::{LogMembership, Peer, StateView, Store};
use tokio::sync::watch;

/// Names an effective membership: the log id of its entry.
pub(super) type MembershipId = (u64, u64, u64);

/// The log id as the grantor and the holder compare it, in the order of the log.
pub(super) fn membership_id(log_id: Option<&v1::LogId>) -> MembershipId {
    log_id.map_or((0, 0, 0), |id| (id.term, id.leader_raft_id, id.index))
}

/// Whom a holder asks, and with which membership it counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Electorate {
    /// Every half of the last committed and the effective membership.
    pub(super) quorums: Quorums,
    /// The effective membership.
    pub(super) membership: MembershipId,
    /// Its members, and where they are reached.
    pub(super) peers: BTreeMap<RaftId, Peer>,
}

/// The membership as the threads of the lease see it.
///
/// They read the store's word and not the agent's, nor that of any task: the raft leader may count
/// this member's acknowledgement of a new membership, commit it with that, and let the new voters
/// grant the next epoch after one lease time. Were this member told by a loop that stands still for
/// longer, it would go on renewing, and granting, by the old membership together with whoever has
/// not got the entry either: two primaries. The store tells before it acknowledges, so from the
/// acknowledgement on no thread here counts, or grants, by the old one.
#[derive(Clone)]
pub(crate) struct ElectorateWatch {
    log: watch::Receiver<Arc<LogMembership>>,
    state: watch::Receiver<Arc<StateView>>,
}

impl ElectorateWatch {
    /// The membership in this store's log, and in the state that was applied from it.
    pub(crate) fn new(store: &Store, state: watch::Receiver<Arc<StateView>>) -> Self {
        let log = store.membership();
        Self { log, state }
    }

    /// The effective membership, once there is one.
    pub(super) fn membership(&self) -> Option<MembershipId> {
        let log = self.log.borrow();
        log.log_id.as_ref().map(|id| membership_id(Some(id)))
    }

    /// How long a member waits that was started, or whose membership changed.
    pub(super) fn start_wait(&self) -> Duration {
        self.state.borrow().state.settings.start_wait()
    }

    /// Whether `id` is certainly no member for somebody who counts with `membership`: this log has
    /// at least that one. Nobody is who may be in an entry that is still to come.
    pub(super) fn rules_out(&self, id: RaftId, membership: MembershipId) -> bool {
        let log = self.log.borrow();
        let as_new = log.log_id.is_some() && membership_id(log.log_id.as_ref()) >= membership;
        as_new && !log.members.contains_key(&id)
    }

    /// Whom to ask now.
    pub(super) fn electorate(&self) -> Electorate {
        let state = self.state.borrow().clone();
        let log = self.log.borrow().clone();
        // What is applied may be far behind what is committed. Then the one before the newest is
        // counted too, which is committed for certain. More halves are only stricter.
        let settled = state.membership.is_some() && state.membership == log.log_id;
        let before = (!settled).then_some(&log.previous_voters);
        let sets = before.into_iter().flatten();
        let sets = sets.chain(&state.voters).chain(&log.voters).cloned();
        Electorate {
            quorums: Quorums::new(sets),
            membership: membership_id(log.log_id.as_ref()),
            peers: log.members.clone(),
        }
    }

    /// Resolves when there may be another electorate.
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            Ok(()) = self.log.changed() => {}
            Ok(()) = self.state.changed() => {}
            // Both end with the process.
            else => std::future::pending().await,
        }
    }
}
