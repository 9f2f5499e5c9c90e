//! What this member knows by itself, and what the others answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use pgha_core::state::PrimaryRecord;
use pgha_core::{Fitness, Lsn, MemberName, Phase};
use pgha_proto::v1;
use pgha_raft::{RoleView, StateView};

use crate::services::{ANSWER_MAX, Joined, ask_peers};

pub(super) fn seen(joined: &Joined) -> (Arc<StateView>, RoleView) {
    let view = joined.raft.state().borrow().clone();
    let role = joined.raft.role().borrow().clone();
    (view, role)
}

pub(super) fn leader(role: &RoleView) -> Option<String> {
    let leader = role.leader.as_ref().filter(|_| role.quorum_fresh);
    leader.map(|leader| leader.name.0.clone())
}

pub(super) type Answers = BTreeMap<MemberName, Option<v1::HelloReply>>;

/// What the addresses of the others answer at this moment.
pub(super) async fn answers(joined: &Joined, view: &StateView) -> Answers {
    let others = view.state.members.iter();
    let others = others.filter(|(name, _)| *name != joined.peers.me());
    let others = others.map(|(name, member)| (name.clone(), member.addresses.raft.clone()));
    ask_peers(&others.collect(), &v1::HelloRequest::default(), ANSWER_MAX).await
}

/// Of data that was looked into. What follows a primary was judged before it did.
pub(super) fn fitness(joined: &Joined, view: &StateView) -> Option<Fitness> {
    let position = joined.published.borrow().position.clone()?;
    Some(view.state.fitness(joined.peers.me(), &position))
}

/// How far the last primary told that its WAL was flushed.
pub(super) fn told(joined: &Joined, view: &StateView) -> Option<Lsn> {
    let record = last_primary(view)?;
    let timing = view.state.settings.lease();
    joined.grants.view(record.epoch, timing).flush_lsn
}

pub(super) fn last_primary(view: &StateView) -> Option<&PrimaryRecord> {
    match &view.state.phase {
        Phase::Primary(record) => Some(record),
        Phase::Revoked(revoked) => revoked.previous.as_ref(),
        Phase::Empty | Phase::Bootstrap { .. } => None,
    }
}
