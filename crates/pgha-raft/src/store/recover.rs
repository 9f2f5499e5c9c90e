//! The store of the one member that a cluster goes on with after its quorum was lost for ever.

use std::collections::{BTreeMap, BTreeSet};

use openraft::{CommittedLeaderId, EntryPayload};
use pgha_core::command::Recover;
use pgha_core::{Command, Epoch};
use tokio::sync::oneshot;

use super::log::closed;
use super::writer::Job;
use super::{Store, StoreError};
use crate::types::{Binding, Entry, LogId, Membership, Peer, Vote};

impl Store {
    /// Makes this member the only voter of the cluster's next generation; durable when it returns.
    /// Nothing is taken out of the log: the whole of it counts as committed, and two entries of a new
    /// term follow, the membership of `me` alone and the `recover` that the state machine is to
    /// apply. They, the vote, the marks and the generation are one write: a crash leaves the old
    /// store or the new one.
    ///
    /// Whatever becomes of it, the store takes no more writes: what runs on it belongs to the old
    /// generation, and must not promise anything that the new one has not heard of.
    pub(crate) async fn recover(
        &self,
        me: Peer,
        recover: impl FnOnce(Epoch) -> Recover,
    ) -> Result<Recover, StoreError> {
        let (done, result) = oneshot::channel();
        let order = {
            let mut shared = self.shared();
            // Whoever else wants to write from here on is refused.
            let Some(jobs) = shared.jobs.take() else {
                return Err(closed());
            };
            let head = &shared.image.head;
            let binding = head.binding.clone().ok_or(StoreError::Unbound)?;
            let raft_id = binding.raft_id.0;
            let term = head.vote.map_or(0, |vote| vote.leader_id.term) + 1;
            let index = head.last.map_or(0, |last| last.index + 1);
            let at = |index| LogId::new(CommittedLeaderId::new(term, raft_id), index);
            let order = recover(head.adopted_epoch);
            let (generation, epoch) = (order.generation, order.epoch);
            let nodes = BTreeMap::from([(raft_id, me)]);
            let alone = Membership::new(vec![BTreeSet::from([raft_id])], nodes);
            let entries = vec![
                Entry {
                    log_id: at(index),
                    payload: EntryPayload::Membership(alone),
                },
                Entry {
                    log_id: at(index + 1),
                    payload: EntryPayload::Normal(Command::Recover(order.clone())),
                },
            ];
            let changes = shared.image.append(entries)?;
            let head = &mut shared.image.head;
            head.vote = Some(Vote::new(term, raft_id));
            head.committed = head.last;
            head.adopted_epoch = head.adopted_epoch.max(epoch);
            head.binding = Some(Binding {
                generation,
                ..binding
            });
            let job = Job {
                changes,
                head: head.clone(),
                // Whoever asked may have gone away.
                done: Some(Box::new(|outcome| drop(done.send(outcome)))),
            };
            // A writer that has ended drops the job, and with it the answer.
            let _ = jobs.send(job);
            order
        };
        result.await.map_or_else(
            |_| Err(closed()),
            |outcome| outcome.map(|()| order).map_err(StoreError::Failed),
        )
    }
}
