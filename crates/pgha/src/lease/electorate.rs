//! Whom a holder asks and a grantor knows, learned from the Raft log itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pgha_core::lease::Quorums;
use pgha_core::{Epoch, RaftId};
use pgha_proto::v1;
use pgha_raft::{LogMembership, Peer, StateView, Store};
use tokio::sync::watch;

/// Names an effective membership: the log id of its entry.
pub(super) type MembershipId = (u64, u64, u64);

/// The log id as the grantor and the holder compare it, in the order of the log.
pub(super) fn membership_id(log_id: Option<&v1::LogId>) -> MembershipId {
    log_id.map_or((0, 0, 0), |id| (id.term, id.leader_raft_id, id.index))
}

/// Whether what is applied includes the effective membership.
fn is_settled(state: &StateView, log: &LogMembership) -> bool {
    state.membership.is_some() && state.membership == log.log_id
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

    /// The newest epoch that is applied, if the effective membership is.
    pub(super) fn settled_epoch(&self) -> Option<Epoch> {
        let log = self.log.borrow().clone();
        let state = self.state.borrow();
        is_settled(&state, &log).then_some(state.state.epoch)
    }

    /// Whom to ask now.
    pub(super) fn electorate(&self) -> Electorate {
        let state = self.state.borrow().clone();
        let log = self.log.borrow().clone();
        let settled = is_settled(&state, &log);
        Electorate {
            quorums: Quorums::to_ask(settled, &log.previous_voters, &state.voters, &log.voters),
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
