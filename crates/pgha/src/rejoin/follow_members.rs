//! The Raft membership follows the replicated state: whoever was taken back votes again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pgha_core::{ClusterState, Member, MemberName, Mono, RaftId};
use pgha_guard::clock;
use pgha_raft::{MembershipChange, Peer, RaftNode};

use crate::services::Joined;

const CHANGE_MAX: Duration = Duration::from_secs(20);
const CHECK_PAUSE: Duration = Duration::from_millis(500);
/// A learner supports nobody before a started member's wait is over. One that has had twice that, and this
/// beside it, gets its vote all the same.
const SUPPORT_MARGIN: Duration = Duration::from_secs(5);

/// Makes the Raft membership what the replicated state says; on whoever leads. Runs for ever.
pub(crate) async fn follow_members(raft: Arc<RaftNode>, joined: Arc<OnceLock<Joined>>) {
    let mut state = raft.state();
    let mut role = raft.role();
    let mut learning: BTreeMap<RaftId, Mono> = BTreeMap::new();
    // Whose turn was in vain: the next one's comes, or nobody else would have one.
    let mut passed: Option<MemberName> = None;
    loop {
        let change = {
            let view = state.borrow_and_update().clone();
            let role = role.borrow_and_update().clone();
            role.is_leader
                .then(|| next_change(&view.state, &role, passed.as_ref()))
                .flatten()
        };
        if let Some((name, change)) = change {
            if let MembershipChange::Promote(id) = change {
                let since = *learning.entry(id).or_insert_with(clock::now);
                let wait = state.borrow().state.settings.start_wait();
                let patient = clock::now() < since + wait * 2 + SUPPORT_MARGIN;
                if patient && !supports_primary(&raft, joined.get(), id) {
                    passed = Some(name);
                    tokio::time::sleep(CHECK_PAUSE).await;
                    continue;
                }
            }
            tracing::info!(?change, "changing the Raft membership");
            if let Err(error) = raft.change_membership(change, CHANGE_MAX).await {
                tracing::warn!(%error, "the Raft membership was not changed");
                passed = Some(name);
            }
            tokio::time::sleep(CHECK_PAUSE).await;
            continue;
        }
        passed = None;
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            changed = role.changed() => if changed.is_err() { return },
        }
    }
}

/// Whether the learner has promised the primary its support, where there is a primary. As a voter it
/// would refuse for a whole lease time to begin with that, and its vote may be one that the primary
/// needs: with the second voter of two it would lose its lease.
fn supports_primary(raft: &RaftNode, joined: Option<&Joined>, id: RaftId) -> bool {
    let view = raft.state().borrow().clone();
    let (Some(record), Some(joined)) = (view.state.primary(), joined) else {
        return true;
    };
    joined.peers.heard().into_values().any(|heard| {
        let grant = &heard.report.grant;
        heard.report.raft_id == id && grant.epoch == record.epoch && grant.promised
    })
}

/// What the first member without a vote behind `passed` needs, round and round. Whoever a recovery of
/// the quorum ruled out is in the replicated state, to be known when it comes back, and gets no vote by
/// that.
fn next_change(
    state: &ClusterState,
    role: &pgha_raft::RoleView,
    passed: Option<&MemberName>,
) -> Option<(MemberName, MembershipChange)> {
    let members = &state.members;
    let wanted: BTreeSet<RaftId> = members.values().map(|member| member.raft_id).collect();
    let waits =
        |member: &Member| !state.is_ruled_out(member) && !role.voters.contains(&member.raft_id);
    let mut waiting = members.iter().filter(|(_, member)| waits(member));
    let first = waiting.clone().next();
    let behind = waiting.find(|(name, _)| passed.is_none_or(|passed| *name > passed));
    let (name, member) = behind.or(first)?;
    let peer = Peer {
        name: name.clone(),
        store_id: member.store_id.clone(),
        address: member.addresses.raft.clone(),
    };
    let old = role
        .members
        .iter()
        .find(|(id, peer)| peer.name == *name && !wanted.contains(id))
        .map(|(id, _)| *id);
    let change = match old {
        Some(old) => MembershipChange::Replace {
            old,
            new: member.raft_id,
            peer,
        },
        None if role.learners.contains(&member.raft_id) => {
            MembershipChange::Promote(member.raft_id)
        }
        None => MembershipChange::AddLearner(member.raft_id, peer),
    };
    Some((name.clone(), change))
}

#[cfg(test)]
mod tests {
    use pgha_core::{Addresses, MemberKind};
    use pgha_raft::RoleView;

    use super::*;

    fn a_member(raft_id: u64) -> Member {
        Member {
            raft_id: RaftId(raft_id),
            store_id: format!("s{raft_id}").into(),
            kind: MemberKind::Data,
            addresses: Addresses::default(),
            priority: 0,
            excluded: false,
        }
    }

    #[test]
    fn one_whose_change_fails_does_not_keep_the_others_from_theirs() {
        let members = ["n1", "n2", "n3", "n4"].map(MemberName::from);
        let state = ClusterState {
            members: (1..)
                .map(a_member)
                .zip(members)
                .map(|(m, n)| (n, m))
                .collect(),
            ..ClusterState::default()
        };
        let role = RoleView {
            voters: [RaftId(3)].into(),
            learners: [RaftId(1), RaftId(2)].into(),
            ..RoleView::default()
        };
        let next = |passed: Option<&str>| {
            let passed = passed.map(MemberName::from);
            let (name, change) = next_change(&state, &role, passed.as_ref()).unwrap();
            (name.0, change)
        };
        let promote = |id| MembershipChange::Promote(RaftId(id));
        assert_eq!(next(None), ("n1".to_owned(), promote(1)));
        assert_eq!(next(Some("n1")), ("n2".to_owned(), promote(2)));
        let (name, change) = next(Some("n2"));
        assert_eq!(name, "n4");
        assert!(matches!(change, MembershipChange::AddLearner(RaftId(4), _)));
        assert_eq!(next(Some("n4")), ("n1".to_owned(), promote(1)));
        assert_eq!(next(Some("n9")), ("n1".to_owned(), promote(1)));
    }
}
