//! Leadership moved on purpose (Raft thesis, 3.10).

use std::time::Duration;

use openraft::ServerState;
use pgha_core::{Mono, RaftId};
use pgha_proto::v1;
use tokio::time::timeout;
use tonic::Request;

use crate::clock;
use crate::core::Core;
use crate::propose::{ProposeError, check_lead};
use crate::types::{LogId, Peer, log_id_out};

/// For one request to elect, in which the target may catch up and hold its election. Commands wait
/// meanwhile, one that revokes a dead primary's lease among them.
const TRY_DEADLINE: Duration = Duration::from_millis(400);
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Why the lead did not move.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// This member has no lead to give, or nobody to confirm that it moved.
    #[error(transparent)]
    NotLeading(#[from] ProposeError),
    /// The target has no vote.
    #[error("Raft id {0} has no vote, only a voter can lead")]
    NotVoter(RaftId),
    /// It did not take over in time. It may still do so.
    #[error("Raft id {to} did not take the lead within {waited:?}: {reason}")]
    TimedOut {
        /// The target.
        to: RaftId,
        /// How long was waited.
        waited: Duration,
        /// What it said last.
        reason: String,
    },
}

pub(crate) async fn transfer(
    core: &Core,
    to: RaftId,
    deadline: Duration,
) -> Result<(), TransferError> {
    if to == core.links.me.raft_id && core.leads() {
        return Ok(());
    }
    check_lead(core)?;
    let server = core.server();
    let membership = server.membership_config.membership();
    let is_voter = membership.voter_ids().any(|id| id == to.0);
    let Some(peer) = membership.get_node(&to.0).filter(|_| is_voter) else {
        return Err(TransferError::NotVoter(to));
    };
    let end = clock::now() + deadline;
    let outcome = try_until(core, to, peer, end).await;
    core.raft.runtime_config().heartbeat(true);
    outcome.map_err(|reason| TransferError::TimedOut {
        to,
        waited: deadline,
        reason,
    })
}

async fn try_until(core: &Core, to: RaftId, peer: &Peer, end: Mono) -> Result<(), String> {
    let mut reason = "it was not asked yet".to_owned();
    loop {
        let rest = end.since(clock::now());
        if rest.is_zero() {
            return Err(reason);
        }
        if let Err(said) = try_once(core, to, peer, rest.min(TRY_DEADLINE)).await {
            reason = said;
        }
        match core.server().current_leader {
            Some(leader) if leader == to.0 => return Ok(()),
            // Somebody else won; only that one could try again.
            Some(leader) if leader != core.my_id() => {
                return Err(format!("Raft id {leader} took the lead instead"));
            }
            _ => tokio::time::sleep(RETRY_PAUSE.min(rest)).await,
        }
    }
}

/// One request, and what became of it.
async fn try_once(core: &Core, to: RaftId, peer: &Peer, rest: Duration) -> Result<(), String> {
    let end = clock::now() + rest;
    // Once before commands have to wait: a target that is away would hold them up for nothing.
    caught_up(core, to.0, rest).await?;
    // Thesis, 3.10: an entry that the target does not have when it stands would cost it the votes of
    // those who have it, and this leader steps down before it sees that.
    let alone = timeout(end.since(clock::now()), core.proposals.write()).await;
    let _alone = alone.map_err(|_| "a command before it has no outcome yet".to_owned())?;
    let last = caught_up(core, to.0, end.since(clock::now())).await?;
    let rest = end.since(clock::now());
    let (mut client, identity) = core
        .links
        .to(to.0, peer)
        .map_err(|error| error.to_string())?;
    // Nobody hears of this leader from here on: the other voters' openraft refuses votes for a
    // moment after each heartbeat.
    core.raft.runtime_config().heartbeat(false);
    let mut request = Request::new(v1::ElectRequest {
        identity: Some(identity),
        at_least: last.as_ref().map(log_id_out),
    });
    request.set_timeout(rest);
    let reply = timeout(rest, client.elect(request)).await;
    let reply = reply.map_err(|_| format!("no answer within {rest:?}"))?;
    let reply = reply
        .map_err(|status| status.message().to_owned())?
        .into_inner();
    if !reply.started {
        core.raft.runtime_config().heartbeat(true);
        return Err(reply.reason);
    }
    let mut roles = core.raft.server_metrics();
    let decided = roles
        .wait_for(|server| server.state != ServerState::Leader && server.current_leader.is_some());
    // Its vote or its first append tells who leads; without either the next try does.
    let _ = timeout(rest.min(core.options.lease / 2), decided).await;
    core.raft.runtime_config().heartbeat(true);
    Ok(())
}

/// Waits until the target has all that is in this leader's log now. Not what comes after: where commands
/// come all the time nobody would ever have that.
async fn caught_up(core: &Core, to: u64, rest: Duration) -> Result<Option<LogId>, String> {
    let last = core.store.ends().1;
    let mut progress = core.raft.data_metrics();
    let waited = progress.wait_for(|metrics| {
        let replication = metrics.replication.as_ref();
        replication.is_some_and(|matching| matching.get(&to).copied().flatten() >= last)
    });
    match timeout(rest, waited).await {
        Ok(Ok(_)) => Ok(last),
        Ok(Err(_)) => Err("Raft has ended here".to_owned()),
        Err(_) => Err(format!("it did not get the whole log within {rest:?}")),
    }
}
