//! What this member is in the Raft group, published when it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::ServerState;
use pgha_core::{Mono, RaftId};
use pgha_proto::v1;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::clock;
use crate::core::{Core, Leader};
use crate::election::ear::Presence;
use crate::node::Fatal;
use crate::types::{Peer, log_id_out};

/// This member's place in the Raft group. Holds nothing that moves with each heartbeat: what it says
/// changes when something happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleView {
    /// The leader, as far as it is known.
    pub leader: Option<Leader>,
    /// The newest term this member voted or heard in.
    pub term: u64,
    /// This member leads.
    pub is_leader: bool,
    /// This member votes.
    pub i_am_voter: bool,
    /// All members of the effective membership.
    pub members: BTreeMap<RaftId, Peer>,
    /// Those of them that vote.
    pub voters: BTreeSet<RaftId>,
    /// Those that only follow.
    pub learners: BTreeSet<RaftId>,
    /// The entry of the effective membership: the newest in the log, committed or not (Raft paper,
    /// section 6).
    pub effective_membership: Option<v1::LogId>,
    /// Its sets of voters: one, or two while a change is joint.
    pub effective_voters: Vec<BTreeSet<RaftId>>,
    /// The sets of the membership that applied last.
    pub committed_voters: Vec<BTreeSet<RaftId>>,
    /// The highest commit index that a leader told for an entry of its own term; of a leader its
    /// own. What this member applied is behind the cluster until it has reached this.
    pub told_commit: Option<u64>,
    /// Index of the entry applied last.
    pub applied: u64,
    /// Of the leader: a quorum answered within the lease. Of others: the leader was heard within it.
    pub quorum_fresh: bool,
}

impl RoleView {
    /// Whether the state that this member has applied is at least as new as what was committed when
    /// a leader last told.
    pub fn is_caught_up(&self) -> bool {
        self.told_commit.is_some_and(|told| self.applied >= told)
    }
}

pub(crate) fn view(core: &Core, now: Mono) -> RoleView {
    let server = core.server();
    let membership = server.membership_config.membership();
    let state = core.state.borrow().clone();
    let ids = |set: &BTreeSet<u64>| set.iter().copied().map(RaftId).collect();
    let voters: BTreeSet<RaftId> = membership.voter_ids().map(RaftId).collect();
    let is_leader = server.state == ServerState::Leader;
    let own_term = |id: &v1::LogId| {
        let leader = &server.vote.leader_id;
        (id.term, id.leader_raft_id) == (leader.term, leader.node_id)
    };
    let own_commit = state.applied.filter(|id| is_leader && own_term(id));
    RoleView {
        leader: core.leader(),
        term: server.vote.leader_id.term,
        is_leader,
        i_am_voter: voters.contains(&core.links.me.raft_id),
        members: membership
            .nodes()
            .map(|(&id, peer)| (RaftId(id), peer.clone()))
            .collect(),
        learners: membership.learner_ids().map(RaftId).collect(),
        effective_membership: server.membership_config.log_id().as_ref().map(log_id_out),
        effective_voters: membership.get_joint_config().iter().map(ids).collect(),
        committed_voters: state.voters.clone(),
        told_commit: core
            .ear
            .heard()
            .told_commit
            .max(own_commit.map(|id| id.index)),
        applied: state.applied_index(),
        quorum_fresh: matches!(core.presence(now), Presence::Fresh(_)),
        voters,
    }
}

/// Where this member's own view goes.
pub(crate) struct Publisher {
    pub core: Arc<Core>,
    pub roles: watch::Sender<RoleView>,
    pub fatal: watch::Sender<Option<Fatal>>,
}

impl Publisher {
    /// Publishes each change until it is dropped or openraft has ended.
    pub(crate) async fn run(self) {
        let mut server = self.core.raft.server_metrics();
        let mut state = self.core.state.clone();
        let mut ear = self.core.ear.changes();
        let mut store = self.core.store.failure();
        loop {
            let now = clock::now();
            let new = view(&self.core, now);
            self.roles.send_if_modified(|old| {
                let news = *old != new;
                if news {
                    self.core
                        .links
                        .channels
                        .retain(|address| new.members.values().any(|peer| peer.address == address));
                    *old = new;
                }
                news
            });
            tokio::select! {
                () = sleep(recheck(&self.core, now)) => {}
                changed = server.changed() => if changed.is_err() { break },
                changed = state.changed() => if changed.is_err() { break },
                _ = ear.changed() => {}
                changed = store.changed() => {
                    let failure = store.borrow_and_update().clone();
                    if changed.is_err() || failure.is_some() {
                        break;
                    }
                }
            }
        }
        self.report_end();
    }

    fn report_end(&self) {
        let failure = self.core.store.failure().borrow().clone();
        let fatal = match failure {
            Some(failure) => Fatal::Store(failure),
            None => Fatal::Raft(match &self.core.raft.metrics().borrow().running_state {
                Ok(()) => "its task ended".to_owned(),
                Err(error) => error.to_string(),
            }),
        };
        self.fatal.send_replace(Some(fatal));
    }
}

/// Until when freshness cannot end by itself.
fn recheck(core: &Core, now: Mono) -> Duration {
    const MARGIN: Duration = Duration::from_millis(2);
    match core.presence(now) {
        Presence::Fresh(rest) => rest + MARGIN,
        // It begins again by a message (a follower) or by an answer (a leader), which wakes nobody.
        Presence::Silent | Presence::Gone => core.options.heartbeat,
    }
}
