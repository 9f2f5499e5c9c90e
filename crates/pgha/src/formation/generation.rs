//! Whether the others know better what this member's store should be: asked before it votes or grants
//! with what it has on disk.

use std::collections::BTreeMap;
use std::time::Duration;

use pgha_core::{Generation, MemberName, RaftId};
use pgha_proto::v1;

use super::{Entry, Formation, Outcome};
use crate::services;
use crate::written::WentBack;

/// Part of the time for which a started member grants nothing; a silent peer tells when it is back.
const ASK_MAX: Duration = Duration::from_millis(600);

impl Formation {
    /// How this member goes on with the store that it has. Not at all where anybody answers what rules
    /// it out: a later generation of its cluster, or a later state of this very store. Promises and
    /// votes of that state are forgotten in the copy that was put back.
    pub(super) async fn resumed(&self) -> Outcome {
        let Some(binding) = self.store.binding() else {
            return Outcome::Member(Entry::default());
        };
        let mut others: BTreeMap<MemberName, String> = binding
            .members
            .iter()
            .map(|member| (member.name.clone(), member.address.clone()))
            .collect();
        // Where a member is by now is in this member's own list, if anywhere.
        others.extend(self.peers());
        others.remove(&self.config.name);
        let request = v1::HelloRequest {
            from_name: self.config.name.0.clone(),
            from_store_id: self.store.store_id().0,
            ..v1::HelloRequest::default()
        };
        let replies = services::ask_peers(&others, &request, ASK_MAX).await;
        let replies: Vec<v1::HelloReply> = replies
            .into_values()
            .flatten()
            .filter(|reply| reply.cluster_id == binding.cluster_id.0)
            .collect();
        let newest = replies
            .iter()
            .map(|reply| Generation(reply.generation))
            .max();
        if let Some(newer) = newest.filter(|newest| *newest > binding.generation) {
            return Outcome::RuledOut(newer);
        }
        // What a generation that is over gave away says nothing about this one.
        let same = |reply: &&v1::HelloReply| reply.generation == binding.generation.0;
        let known = replies.iter().filter(same);
        let by = known.map(|reply| RaftId(reply.your_raft_id)).max();
        if let Some(by) = by.filter(|by| *by > binding.raft_id) {
            let was = binding.raft_id;
            return Outcome::Replaced { was, by };
        }
        if let Some(proof) = self.went_back(&replies) {
            return Outcome::WentBack(proof);
        }
        Outcome::Member(Entry {
            initialize: false,
            // Its own network may not be there yet. Those who remember tell it when they reach it.
            in_doubt: replies.is_empty(),
        })
    }

    /// Whether anybody remembers a later state of this store. Nothing is written to it meanwhile.
    pub(super) fn went_back<'a>(
        &self,
        replies: impl IntoIterator<Item = &'a v1::HelloReply>,
    ) -> Option<WentBack> {
        let told = replies.into_iter().map(|reply| reply.your_store_sequence);
        let (told, is) = (told.max()?, self.store.sequence());
        (told > is).then_some(WentBack { told, is })
    }
}
