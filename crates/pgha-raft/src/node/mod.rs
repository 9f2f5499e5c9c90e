//! A running member of the Raft group.

mod initialize;
mod start;

use std::sync::Arc;
use std::time::Duration;

use openraft::error::{CheckIsLeaderError, RaftError};
use pgha_core::{Applied, Command, Generation, Lsn, Mono, RaftId, StoreId};
use pgha_proto::{Parties, v1};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::initialize::InitializeError;
pub use self::start::StartError;
use crate::clock;
use crate::core::{Core, Leader};
use crate::machine::StateView;
use crate::membership::{Changes, MembershipChange, MembershipError};
use crate::network::identity::IdentityError;
use crate::network::service::RaftService;
use crate::propose::{self, ProposeError};
use crate::recover::{self, LogExtent, RecoverError, Recovered};
use crate::role::RoleView;
use crate::store::{Store, StoreFailure};
use crate::transfer::{self, TransferError};

const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(5);

/// Why Raft ended on this member. The process has to end too: the next one checks what is on disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// A write failed.
    #[error("the Raft store failed: {0}")]
    Store(StoreFailure),
    /// openraft stopped, for the reason it gives.
    #[error("Raft has ended on this member: {0}")]
    Raft(String),
}

/// A member that takes part in Raft.
pub struct RaftNode {
    core: Arc<Core>,
    service: RaftService,
    changes: Changes,
    roles: watch::Receiver<RoleView>,
    fatal: watch::Receiver<Option<Fatal>>,
    tasks: Vec<JoinHandle<()>>,
}

impl RaftNode {
    /// Writes a command to the log and returns what it did once it is committed and applied here.
    /// Refused at once where this member does not lead or had no answer of a quorum for a lease.
    pub async fn propose(
        &self,
        command: Command,
        deadline: Duration,
    ) -> Result<Applied, ProposeError> {
        propose::propose(&self.core, command, deadline).await
    }

    /// A linearizable read (Raft paper, section 8): returns the state after everything that was
    /// committed when this was called, once a quorum has confirmed that this member leads.
    pub async fn confirm_quorum(&self, deadline: Duration) -> Result<Arc<StateView>, ProposeError> {
        let read = self.core.raft.ensure_linearizable();
        match tokio::time::timeout(deadline, read).await {
            Ok(Ok(_)) => Ok(self.core.state.borrow().clone()),
            Err(_) => Err(ProposeError::TimedOut(deadline)),
            Ok(Err(RaftError::Fatal(error))) => Err(ProposeError::Fatal(error.to_string())),
            Ok(Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(_)))) => {
                let leader = self.core.leader();
                Err(ProposeError::NotLeader { leader })
            }
            Ok(Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_)))) => {
                let silent = self.quorum_age();
                Err(ProposeError::NoQuorum { silent })
            }
        }
    }

    /// Has `to` take the lead.
    pub async fn transfer_leadership(
        &self,
        to: RaftId,
        deadline: Duration,
    ) -> Result<(), TransferError> {
        transfer::transfer(&self.core, to, deadline).await
    }

    /// Changes the membership; one change at a time, in the order they were asked for.
    pub async fn change_membership(
        &self,
        change: MembershipChange,
        deadline: Duration,
    ) -> Result<(), MembershipError> {
        self.changes.order(change, deadline).await
    }

    /// The replicated state; notified at each applied entry.
    pub fn state(&self) -> watch::Receiver<Arc<StateView>> {
        self.core.state.clone()
    }

    /// This member's place in the Raft group; notified at each change.
    pub fn role(&self) -> watch::Receiver<RoleView> {
        self.roles.clone()
    }

    /// Resolves to the reason why Raft ended on this member; the process has to end then.
    pub fn fatal(&self) -> watch::Receiver<Option<Fatal>> {
        self.fatal.clone()
    }

    /// Time since a quorum last acknowledged this member as leader, by the send times; none where it
    /// does not lead or never had an answer.
    pub fn quorum_age(&self) -> Option<Duration> {
        let now = clock::now();
        self.core.quorum_ack(now).map(|acked| now.since(acked))
    }

    /// When a leader's message last arrived.
    pub fn last_leader_contact(&self) -> Option<Mono> {
        self.core.ear.heard().at
    }

    /// Who leads, as far as it is known now.
    pub fn leader(&self) -> Option<Leader> {
        self.core.leader()
    }

    /// Tells that the process of `leader` has ended: a release, or a refused connection to its own
    /// port. Ends the patience for it at once. Ignored where another one leads by now.
    pub fn leader_gone(&self, leader: RaftId) {
        self.core.mark_gone(leader.0);
    }

    /// How often this member's store was written ([`Store::sequence`]).
    pub fn store_sequence(&self) -> u64 {
        self.core.store.sequence()
    }

    /// Somebody who would know if this member's store were an old copy knows of nothing newer: ends the
    /// doubt that it started in ([`Options::in_doubt`]).
    pub fn vouched_for(&self) {
        self.core.vouched_for();
    }

    /// The highest generation of this cluster that anybody spoke of. One above this member's own
    /// means that the cluster went on without it.
    pub fn generation_seen(&self) -> watch::Receiver<Generation> {
        self.core.links.generation_seen.subscribe()
    }

    /// Notes what a refusal by another member tells of its generation. Raft's own messages are looked
    /// at here already.
    pub fn note_refusal(&self, refusal: &tonic::Status) {
        self.core.links.hear_refusal(refusal);
    }

    /// The identity to put on a message to another member.
    pub fn identity_to(&self, to: RaftId, to_store: Option<StoreId>) -> v1::Identity {
        self.core.links.me.to(to, to_store)
    }

    /// Checks the identity on a message that came from another member.
    pub fn check_identity(
        &self,
        identity: Option<&v1::Identity>,
    ) -> Result<Parties, IdentityError> {
        self.core.check(identity)
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.core.store
    }

    /// Goes on with this member alone, after the quorum was lost for ever: ends Raft here and makes
    /// the store that of the only voter of the cluster's next generation. Durable when it returns.
    /// Where it was refused nothing has changed; after anything else the process has to end, the
    /// next one starts in whichever generation is on disk. `at` is the wall clock, RFC 3339; `told` is
    /// how far the last primary told this member that its WAL was flushed.
    pub async fn recover(&self, at: String, told: Option<Lsn>) -> Result<Recovered, RecoverError> {
        recover::recover(self, at, told).await
    }

    /// What this member's log holds, for whoever has to decide on a recovery.
    pub fn log_extent(&self) -> LogExtent {
        let store = &self.core.store;
        LogExtent {
            last: store.ends().1.map_or(0, |last| last.index),
            committed: store.committed().map_or(0, |committed| committed.index),
        }
    }

    /// Stops taking part. The store stays open until its last clone is dropped.
    pub async fn shutdown(&self) {
        if let Err(why) = self.end().await {
            tracing::warn!("{why}");
        }
    }
}

impl RaftNode {
    pub(crate) const fn core(&self) -> &Arc<Core> {
        &self.core
    }

    pub(crate) async fn end(&self) -> Result<(), String> {
        self.leave();
        match tokio::time::timeout(SHUTDOWN_DEADLINE, self.core.raft.shutdown()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("Raft did not end in order: {error}")),
            Err(_) => Err(format!("Raft did not end within {SHUTDOWN_DEADLINE:?}")),
        }
    }

    fn leave(&self) {
        self.service.attach(None);
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Drop for RaftNode {
    fn drop(&mut self) {
        self.leave();
    }
}
