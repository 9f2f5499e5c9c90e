//! Who belongs to the Raft group. All changes go through one task: two at a time can interleave and
//! leave the group in a joint configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::error::{ClientWriteError, RaftError};
use pgha_core::RaftId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::clock;
use crate::core::{Core, is_quorum};
use crate::propose::{ProposeError, check_lead};
use crate::types::{Membership, Peer};

/// More voters make every entry slower and nothing safer.
pub const VOTERS_MAX: usize = 7;
const INBOX_MAX: usize = 8;
/// A joint configuration that a dead leader left behind is looked for as often.
const JOINT_CHECK: Duration = Duration::from_secs(1);
const FLATTEN_DEADLINE: Duration = Duration::from_secs(2);

/// One change of the membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembershipChange {
    /// A new member that follows without a vote.
    AddLearner(RaftId, Peer),
    /// A learner gets a vote, once it has the log.
    Promote(RaftId),
    /// The second, which is new or a learner, takes the place of the first, once it has the log:
    /// the way back of a member that lost its store.
    Replace {
        /// Leaves; its id is never used again.
        old: RaftId,
        /// Comes in its place.
        new: RaftId,
        /// Who that is.
        peer: Peer,
    },
    /// Leaves, voter or learner.
    Remove(RaftId),
}

/// Why a change was refused, or is not known to be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// This member does not lead, has no quorum, or does not know the outcome.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// No such member.
    #[error("Raft id {0} is no member")]
    NotMember(RaftId),
    /// Taken by another store: ids are never used again.
    #[error("Raft id {0} belongs to another store already")]
    IdTaken(RaftId),
    /// A leader that leaves would take its own majority with it.
    #[error("Raft id {0} leads: move the lead to another voter first")]
    IsLeader(RaftId),
    /// As many as there may be.
    #[error("there are {VOTERS_MAX} voters already, remove one first")]
    TooManyVoters,
    /// Of the voters that would be left too few are alive.
    #[error("of the voters {voters:?} that it leaves only {alive:?} answer, that is no majority")]
    LosesQuorum {
        /// Who would vote afterwards.
        voters: BTreeSet<RaftId>,
        /// Who of them answered within the lease.
        alive: BTreeSet<RaftId>,
    },
    /// The new voter is still behind. It stays a learner and goes on catching up.
    #[error("Raft id {id} did not get the log within {waited:?}; it goes on as a learner")]
    Behind {
        /// Who.
        id: RaftId,
        /// How long was waited.
        waited: Duration,
    },
    /// Another change is not committed yet.
    #[error("another change of the membership is not committed yet: {0}")]
    InProgress(String),
}

type Outcome = Result<(), MembershipError>;

struct Order {
    change: MembershipChange,
    deadline: Duration,
    done: oneshot::Sender<Outcome>,
}

/// Where changes are ordered.
#[derive(Clone)]
pub(crate) struct Changes {
    orders: mpsc::Sender<Order>,
}

impl Changes {
    pub(crate) fn start(core: Arc<Core>) -> (Self, tokio::task::JoinHandle<()>) {
        let (orders, inbox) = mpsc::channel(INBOX_MAX);
        (Self { orders }, tokio::spawn(run(core, inbox)))
    }

    pub(crate) async fn order(&self, change: MembershipChange, deadline: Duration) -> Outcome {
        let (done, outcome) = oneshot::channel();
        let order = Order {
            change,
            deadline,
            done,
        };
        let ended = || ProposeError::Fatal("its membership task ended".to_owned()).into();
        let placed = async {
            self.orders.send(order).await.ok()?;
            outcome.await.ok()
        };
        match timeout(deadline, placed).await {
            Ok(outcome) => outcome.unwrap_or_else(|| Err(ended())),
            Err(_) => Err(ProposeError::TimedOut(deadline).into()),
        }
    }
}

async fn run(core: Arc<Core>, mut inbox: mpsc::Receiver<Order>) {
    let mut roles = core.raft.server_metrics();
    loop {
        let joint = roles
            .borrow_and_update()
            .membership_config
            .membership()
            .get_joint_config()
            .len()
            > 1;
        tokio::select! {
            order = inbox.recv() => {
                let Some(order) = order else { return };
                let outcome = match timeout(order.deadline, execute(&core, &order)).await {
                    Ok(outcome) => outcome,
                    Err(_) => Err(ProposeError::TimedOut(order.deadline).into()),
                };
                // Whoever ordered it may have given up.
                let _ = order.done.send(outcome);
            }
            () = sleep(JOINT_CHECK), if joint => {
                let _ = timeout(FLATTEN_DEADLINE, flatten(&core)).await;
            }
            changed = roles.changed() => if changed.is_err() { return },
        }
    }
}

/// Ends a joint configuration that an earlier leader did not live to end.
async fn flatten(core: &Core) -> Outcome {
    let joint = members(core).get_joint_config().len() > 1;
    if joint && check_lead(core).is_ok() {
        // openraft makes the last set of a joint configuration the only one, whatever is asked.
        return submit(core, ChangeMembers::AddVoterIds(BTreeSet::new()), true).await;
    }
    Ok(())
}

async fn execute(core: &Core, order: &Order) -> Outcome {
    check_lead(core)?;
    flatten(core).await?;
    match &order.change {
        MembershipChange::AddLearner(id, peer) => add_learner(core, *id, peer).await,
        MembershipChange::Promote(id) => promote(core, *id, order.deadline).await,
        MembershipChange::Replace { old, new, peer } => {
            replace(core, *old, (*new, peer), order.deadline).await
        }
        MembershipChange::Remove(id) => remove(core, *id).await,
    }
}

async fn add_learner(core: &Core, id: RaftId, peer: &Peer) -> Outcome {
    match members(core).get_node(&id.0) {
        Some(known) if known.store_id != peer.store_id => Err(MembershipError::IdTaken(id)),
        Some(known) if known == peer => Ok(()),
        // The same store under a new address or name.
        Some(_) => {
            let nodes = BTreeMap::from([(id.0, peer.clone())]);
            submit(core, ChangeMembers::SetNodes(nodes), true).await
        }
        None => {
            let nodes = BTreeMap::from([(id.0, peer.clone())]);
            submit(core, ChangeMembers::AddNodes(nodes), true).await
        }
    }
}

async fn promote(core: &Core, id: RaftId, deadline: Duration) -> Outcome {
    let membership = members(core);
    if membership.get_node(&id.0).is_none() {
        return Err(MembershipError::NotMember(id));
    }
    let mut voters: BTreeSet<u64> = membership.voter_ids().collect();
    if !voters.insert(id.0) {
        return Ok(());
    }
    change_voters(core, voters, Some(id), deadline).await
}

async fn replace(
    core: &Core,
    old: RaftId,
    (new, peer): (RaftId, &Peer),
    deadline: Duration,
) -> Outcome {
    let membership = members(core);
    let has_new = membership.get_node(&new.0).is_some();
    if membership.get_node(&old.0).is_none() {
        // Done already, by an order whose answer was lost.
        return if has_new {
            Ok(())
        } else {
            Err(MembershipError::NotMember(old))
        };
    }
    if old.0 == core.my_id() {
        return Err(MembershipError::IsLeader(old));
    }
    add_learner(core, new, peer).await?;
    let mut voters: BTreeSet<u64> = membership.voter_ids().collect();
    if voters.remove(&old.0) {
        voters.insert(new.0);
        return change_voters(core, voters, Some(new), deadline).await;
    }
    submit(
        core,
        ChangeMembers::RemoveNodes(BTreeSet::from([old.0])),
        false,
    )
    .await
}

async fn remove(core: &Core, id: RaftId) -> Outcome {
    let membership = members(core);
    if id.0 == core.my_id() {
        return Err(MembershipError::IsLeader(id));
    }
    if membership.get_node(&id.0).is_none() {
        return Ok(());
    }
    let mut voters: BTreeSet<u64> = membership.voter_ids().collect();
    if voters.remove(&id.0) {
        return change_voters(core, voters, None, Duration::ZERO).await;
    }
    submit(
        core,
        ChangeMembers::RemoveNodes(BTreeSet::from([id.0])),
        false,
    )
    .await
}

/// Makes `voters` the voters, by a joint configuration (Raft paper, section 6); who is left out is
/// no member any more. A newcomer must have the log before: until it has, it would count for the
/// size of a majority and never for reaching one.
async fn change_voters(
    core: &Core,
    voters: BTreeSet<u64>,
    newcomer: Option<RaftId>,
    deadline: Duration,
) -> Outcome {
    if voters.len() > VOTERS_MAX {
        return Err(MembershipError::TooManyVoters);
    }
    if let Some(id) = newcomer {
        wait_for_log(core, id, deadline).await?;
    }
    check_quorum(core, &voters)?;
    let removes: BTreeSet<u64> = members(core)
        .voter_ids()
        .filter(|id| !voters.contains(id))
        .collect();
    let change = if removes.is_empty() {
        ChangeMembers::AddVoterIds(voters)
    } else {
        ChangeMembers::ReplaceAllVoters(voters)
    };
    submit(core, change, false).await
}

fn check_quorum(core: &Core, voters: &BTreeSet<u64>) -> Outcome {
    let since = clock::now() - core.options.lease;
    let mut alive = core.links.acks.alive(&core.server().vote, since);
    alive.insert(core.my_id());
    if is_quorum(std::slice::from_ref(voters), &alive) {
        return Ok(());
    }
    let named = |ids: BTreeSet<u64>| ids.into_iter().map(RaftId).collect();
    Err(MembershipError::LosesQuorum {
        alive: named(alive.intersection(voters).copied().collect()),
        voters: named(voters.clone()),
    })
}

/// Entries that a newcomer may still be short of: they keep coming.
const BEHIND_MAX: u64 = 8;

async fn wait_for_log(core: &Core, id: RaftId, deadline: Duration) -> Outcome {
    // Within the order's own deadline there must be time for the change itself.
    let waited = deadline * 3 / 4;
    let mut progress = core.raft.data_metrics();
    let near = progress.wait_for(|metrics| {
        let last = metrics.last_log.map_or(0, |last| last.index);
        let replication = metrics.replication.as_ref();
        let matching = replication.and_then(|all| all.get(&id.0).copied().flatten());
        matching.is_some_and(|matching| matching.index + BEHIND_MAX >= last)
    });
    match timeout(waited, near).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err(ProposeError::Fatal("its task ended".to_owned()).into()),
        Err(_) => Err(MembershipError::Behind { id, waited }),
    }
}

fn members(core: &Core) -> Membership {
    core.server().membership_config.membership().clone()
}

async fn submit(core: &Core, change: ChangeMembers<u64, Peer>, retain: bool) -> Outcome {
    match core.raft.change_membership(change, retain).await {
        Ok(_) => Ok(()),
        Err(RaftError::Fatal(error)) => Err(ProposeError::Fatal(error.to_string()).into()),
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
            let leader = core.leader();
            Err(ProposeError::LostLead { leader }.into())
        }
        Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error))) => {
            Err(MembershipError::InProgress(error.to_string()))
        }
    }
}
