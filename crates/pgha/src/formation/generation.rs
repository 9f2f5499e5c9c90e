//! Whether the others know better what this member's store should be: asked before it votes or grants
//! with what it has on disk.

use std::collections::BTreeMap;
use std::time::Duration;

use pgha_core::{Generation, MemberName};
use pgha_proto::v1;

use super::{Formation, Outcome};
use crate::services;

/// Part of the time for which a started member grants nothing; a silent peer tells when it is back.
const ASK_MAX: Duration = Duration::from_millis(600);

impl Formation {
    /// Why this member may not go on with its store, where anybody answers what rules it out: a later
    /// generation of its cluster, or a later state of this very store. Promises and votes of that state
    /// are forgotten in the copy that was put back.
    pub(super) async fn overtaken(&self) -> Option<Outcome> {
        let binding = self.store.binding()?;
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
            return Some(Outcome::RuledOut(newer));
        }
        let told = replies
            .iter()
            .map(|reply| reply.your_store_sequence)
            .max()?;
        let is = self.store.sequence();
        (told > is).then_some(Outcome::WentBack { told, is })
    }
}
