//! What all parts of a running member share.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::ServerState;
use openraft::metrics::RaftServerMetrics;
use pgha_core::{MemberName, Mono, RaftId, StoreId};
use pgha_proto::{Parties, v1};
use tokio::sync::{RwLock, watch};

use crate::clock;
use crate::election::doubt::Doubt;
use crate::election::ear::{Ear, Presence};
use crate::machine::StateView;
use crate::network::client::Links;
use crate::network::identity::IdentityError;
use crate::options::Options;
use crate::store::Store;
use crate::types::{Membership, Peer, Raft, Vote};

pub(crate) struct Core {
    pub options: Options,
    pub store: Store,
    pub raft: Raft,
    pub links: Arc<Links>,
    pub ear: Ear,
    pub doubt: Doubt,
    pub state: watch::Receiver<Arc<StateView>>,
    /// Commands and changes of the membership are proposed under shared hold; one that moves the lead takes it alone, so that no
    /// entry comes behind those that the target is known to have.
    pub proposals: RwLock<()>,
}

/// The leader, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its place in the Raft group.
    pub raft_id: RaftId,
    /// Its name.
    pub name: MemberName,
    /// `host:port` of its gRPC.
    pub address: String,
}

impl Core {
    /// A copy of openraft's view of roles; never a borrow of it, which held over an await would stop
    /// openraft (openraft#1238).
    pub(crate) fn server(&self) -> RaftServerMetrics<u64, Peer> {
        self.raft.server_metrics().borrow().clone()
    }

    pub(crate) fn my_id(&self) -> u64 {
        self.links.me.raft_id.0
    }

    pub(crate) fn leads(&self) -> bool {
        self.raft.server_metrics().borrow().state == ServerState::Leader
    }

    pub(crate) fn leader(&self) -> Option<Leader> {
        let server = self.server();
        let id = server.current_leader?;
        let peer = server.membership_config.membership().get_node(&id)?;
        Some(Leader {
            raft_id: RaftId(id),
            name: peer.name.clone(),
            address: peer.address.clone(),
        })
    }

    /// When a quorum last acknowledged this member as leader; none where it does not lead.
    pub(crate) fn quorum_ack(&self, now: Mono) -> Option<Mono> {
        let server = self.server();
        if server.state != ServerState::Leader {
            return None;
        }
        let membership = server.membership_config.membership();
        let voters = membership.get_joint_config();
        let acks = &self.links.acks;
        acks.quorum(&server.vote, self.my_id(), now, voters)
    }

    /// Whether a quorum answered this leader within the lease. openraft goes on leading without one.
    pub(crate) fn quorum_is_fresh(&self, now: Mono) -> bool {
        let lease = self.options.lease;
        self.quorum_ack(now)
            .is_some_and(|acked| now.since(acked) <= lease)
    }

    /// Whether there is a leader that this member should not help to depose: itself included.
    pub(crate) fn presence(&self, now: Mono) -> Presence {
        let lease = self.options.lease;
        if !self.leads() {
            return self.ear.heard().presence(now, lease);
        }
        let end = self
            .quorum_ack(now)
            .map_or(Mono::ZERO, |acked| acked + lease);
        if end > now {
            Presence::Fresh(end.since(now))
        } else {
            Presence::Silent
        }
    }

    /// Checks who speaks; a generation above this one's is noted, as its holder decides what to do.
    pub(crate) fn check(&self, identity: Option<&v1::Identity>) -> Result<Parties, IdentityError> {
        let admitted = |id: RaftId| self.admitted_store(id);
        let checked = self.links.me.check(identity, admitted);
        if let Err(IdentityError::Generation { theirs, .. }) = &checked {
            self.links.hear_generation(*theirs);
        }
        let parties = checked?;
        if self.state.borrow().state.ruled_out.contains(&parties.from) {
            return Err(IdentityError::RuledOut(parties.from));
        }
        Ok(parties)
    }

    fn admitted_store(&self, id: RaftId) -> Option<StoreId> {
        let server = self.server();
        let peer = server.membership_config.membership().get_node(&id.0)?;
        Some(peer.store_id.clone()).filter(|store_id| !store_id.0.is_empty())
    }

    /// Notes that the process of `leader` has ended.
    pub(crate) fn mark_gone(&self, leader: u64) {
        let known = self.server().current_leader;
        self.ear.mark_gone(leader, known, clock::now());
    }

    /// Waits until openraft's own, much shorter lease has passed as well.
    pub(crate) async fn outwait_engine_lease(&self) {
        const MARGIN: Duration = Duration::from_millis(3);
        let end = self
            .ear
            .heard()
            .at
            .map(|at| at + self.options.engine_lease() + MARGIN);
        if let Some(rest) = end
            .map(|end| end.since(clock::now()))
            .filter(|rest| !rest.is_zero())
        {
            tokio::time::sleep(rest).await;
        }
    }
}

/// The other voters of a membership.
pub(crate) fn other_voters(membership: &Membership, me: u64) -> Vec<(u64, Peer)> {
    let ids: BTreeSet<u64> = membership.voter_ids().filter(|&id| id != me).collect();
    ids.into_iter()
        .filter_map(|id| Some((id, membership.get_node(&id)?.clone())))
        .collect()
}

/// Whether `granted` holds a majority of every set of voters.
pub(crate) fn is_quorum(voters: &[BTreeSet<u64>], granted: &BTreeSet<u64>) -> bool {
    let majority = |set: &BTreeSet<u64>| set.intersection(granted).count() > set.len() / 2;
    !voters.is_empty() && voters.iter().all(majority)
}

/// The term that a candidate of `vote` would have to beat.
pub(crate) fn term(vote: &Vote) -> u64 {
    vote.leader_id.term
}
