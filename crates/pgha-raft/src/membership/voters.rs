//! Changes who votes, without losing the majority on the way.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::error::{ClientWriteError, RaftError};
use pgha_core::RaftId;
use tokio::time::timeout;

use super::{MembershipError, Outcome, VOTERS_MAX};
use crate::clock;
use crate::core::{Core, is_quorum};
use crate::propose::ProposeError;
use crate::types::{Membership, Peer};

/// Entries that a newcomer may still be short of: they keep coming.
const BEHIND_MAX: u64 = 8;

/// Makes `voters` the voters, by a joint configuration (Raft paper, section 6); who is left out is
/// no member any more. A newcomer must have the log before: until it has, it would count for the
/// size of a majority and never for reaching one; the time is that of its order.
pub(super) async fn change_voters(
    core: &Core,
    voters: BTreeSet<u64>,
    newcomer: Option<(RaftId, Duration)>,
) -> Outcome {
    if voters.len() > VOTERS_MAX {
        return Err(MembershipError::TooManyVoters);
    }
    if let Some((id, deadline)) = newcomer {
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

pub(super) fn members(core: &Core) -> Membership {
    core.server().membership_config.membership().clone()
}

pub(super) async fn submit(core: &Core, change: ChangeMembers<u64, Peer>, retain: bool) -> Outcome {
    // An entry of the log like any command: none may come behind those that the target of a transfer is
    // known to have. Nobody who holds this asks for it again.
    let _shared = core.proposals.read().await;
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
