//! A running member of the Raft group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use openraft::error::{CheckIsLeaderError, InitializeError as NotPristine, RaftError};
use pgha_core::{Applied, Command, Generation, Lsn, Mono, RaftId, StoreId};
use pgha_proto::{Parties, v1};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock;
use crate::core::{Core, Leader};
use crate::election::doubt::Doubt;
use crate::election::ear::Ear;
use crate::election::supervisor::Supervisor;
use crate::machine::{Machine, StateView};
use crate::membership::{Changes, MembershipChange, MembershipError};
use crate::network::channels::Channels;
use crate::network::client::{Factory, Links};
use crate::network::identity::{IdentityError, Me};
use crate::network::service::RaftService;
use crate::options::{Options, OptionsError};
use crate::propose::{self, ProposeError};
use crate::recover::{self, LogExtent, RecoverError, Recovered};
use crate::role::{self, Publisher, RoleView};
use crate::store::{Store, StoreFailure};
use crate::transfer::{self, TransferError};
use crate::types::{FormedMember, Peer, Raft};

const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(5);

/// Why a member does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No cluster yet.
    #[error("the Raft store belongs to no cluster yet: form one or join one first")]
    Unbound,
    /// Timing that cannot work.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The snapshot is whole and not understood: a newer version wrote it.
    #[error(
        "the state in the Raft snapshot is not understood ({0}): start the version that wrote it, or a later one"
    )]
    Snapshot(#[source] serde_json::Error),
    /// openraft's words.
    #[error("Raft does not start: {0}")]
    Raft(String),
}

/// Why a cluster was not created.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InitializeError {
    /// It has been, here.
    #[error("this member has a Raft log already ({0}), a cluster is created once")]
    NotPristine(String),
    /// The list leaves this member out.
    #[error("Raft id {0}, this member, is not in the list of members")]
    NotListed(RaftId),
    /// The process has to end.
    #[error("Raft has ended on this member: {0}")]
    Fatal(String),
}

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
    /// Starts the member that `store` is bound as, and puts it behind `service`.
    pub async fn start(
        store: Store,
        options: Options,
        service: &RaftService,
    ) -> Result<Self, StartError> {
        let core = Arc::new(build(store, options).await?);
        service.attach(Some(core.clone()));
        let (roles, role_view) = watch::channel(role::view(&core, clock::now()));
        let (fatal, fatal_view) = watch::channel(None);
        let publisher = Publisher {
            core: core.clone(),
            roles,
            fatal,
        };
        let (changes, changes_task) = Changes::start(core.clone());
        let tasks = vec![
            tokio::spawn(Supervisor::new(core.clone()).run()),
            tokio::spawn(publisher.run()),
            changes_task,
        ];
        Ok(Self {
            core,
            service: service.clone(),
            changes,
            roles: role_view,
            fatal: fatal_view,
            tasks,
        })
    }

    /// Creates the cluster's log with these members as voters. On exactly one member, whose store
    /// nothing was ever written to; a second one would be a second cluster.
    pub async fn initialize(&self, members: &[FormedMember]) -> Result<(), InitializeError> {
        let nodes: BTreeMap<u64, Peer> = members
            .iter()
            .map(|member| (member.raft_id.0, Peer::from(member)))
            .collect();
        match self.core.raft.initialize(nodes).await {
            Ok(()) => Ok(()),
            Err(RaftError::APIError(NotPristine::NotAllowed(error))) => {
                Err(InitializeError::NotPristine(error.to_string()))
            }
            Err(RaftError::APIError(NotPristine::NotInMembers(_))) => {
                Err(InitializeError::NotListed(self.core.links.me.raft_id))
            }
            Err(RaftError::Fatal(error)) => Err(InitializeError::Fatal(error.to_string())),
        }
    }

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

async fn build(store: Store, options: Options) -> Result<Core, StartError> {
    let binding = store.binding().ok_or(StartError::Unbound)?;
    let config = options.config(&binding.cluster)?;
    let config = config
        .validate()
        .map_err(|error| StartError::Raft(error.to_string()))?;
    let me = Me::new(&binding, store.store_id());
    let links = Arc::new(Links {
        me,
        channels: Channels::default(),
        acks: Default::default(),
        generation_seen: watch::Sender::new(binding.generation),
        transfer_term: AtomicU64::new(0),
    });
    let ear = listen(&store, links.me.raft_id.0);
    let doubt = Doubt::new(options.in_doubt && store.has_entries());
    let (machine, state) = Machine::restore(store.clone()).map_err(StartError::Snapshot)?;
    let factory = Factory {
        links: links.clone(),
    };
    let raft_id = links.me.raft_id.0;
    let raft = Raft::new(raft_id, Arc::new(config), factory, store.clone(), machine)
        .await
        .map_err(|error| StartError::Raft(error.to_string()))?;
    Ok(Core {
        options,
        store,
        raft,
        links,
        ear,
        doubt,
        state,
        proposals: Default::default(),
    })
}

/// A member that had a part in Raft before waits a full lease for the leader that it may have had:
/// restarted next to a frozen candidate it must not make up its majority at once.
fn listen(store: &Store, me: u64) -> Ear {
    let elected = store.vote().filter(|vote| vote.committed);
    let leader = elected.map(|vote| vote.leader_id.node_id);
    let deaf_until = if store.has_entries() {
        clock::now()
    } else {
        Mono::ZERO
    };
    Ear::new(leader.filter(|&id| id != me), deaf_until)
}
