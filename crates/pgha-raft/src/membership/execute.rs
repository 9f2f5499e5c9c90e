//! Carries out one change.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::ChangeMembers;
use pgha_core::RaftId;

use super::task::Order;
use super::voters::{change_voters, members, submit};
use super::{MembershipChange, MembershipError, Outcome};
use crate::core::Core;
use crate::propose::check_lead;
use crate::types::Peer;

/// Ends a joint configuration that an earlier leader did not live to end.
pub(super) async fn flatten(core: &Core) -> Outcome {
    let joint = members(core).get_joint_config().len() > 1;
    if joint && check_lead(core).is_ok() {
        // openraft makes the last set of a joint configuration the only one, whatever is asked.
        return submit(core, ChangeMembers::AddVoterIds(BTreeSet::new()), true).await;
    }
    Ok(())
}

pub(super) async fn execute(core: &Core, order: &Order) -> Outcome {
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
    change_voters(core, voters, Some((id, deadline))).await
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
        return change_voters(core, voters, Some((new, deadline))).await;
    }
    remove_learner(core, old).await
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
        return change_voters(core, voters, None).await;
    }
    remove_learner(core, id).await
}

async fn remove_learner(core: &Core, id: RaftId) -> Outcome {
    let nodes = BTreeSet::from([id.0]);
    submit(core, ChangeMembers::RemoveNodes(nodes), false).await
}
