//! Asks the listed peers and does what is next, until this member belongs to a cluster.

use std::time::Duration;

use anyhow::Context as _;
use pgha_core::formation::{Next, next};
use pgha_core::{Generation, RaftId, Reason};
use pgha_proto::v1;
use tokio::sync::watch;

use super::Formation;
use super::wire::{hello, wire_peers};
use crate::rejoin;
use crate::services::{self, ANSWER_MAX};
use crate::written::WentBack;

const ASK_PAUSE: Duration = Duration::from_millis(150);

/// How this member takes part from now on.
pub(crate) enum Outcome {
    /// As the member that its store is bound as.
    Member(Entry),
    /// Not with this store: the cluster is of this generation by now.
    RuledOut(Generation),
    /// Not with this store: it is an old copy.
    WentBack(WentBack),
    /// Not with this store: it was lost once, and the member has come back under another raft id since.
    Replaced {
        /// The store's.
        was: RaftId,
        /// The member's.
        by: RaftId,
    },
}

/// How a member begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Whether it writes the first entry.
    pub(crate) initialize: bool,
    /// Whether its store may be an old copy: nobody answered who would know.
    pub(crate) in_doubt: bool,
}

impl Formation {
    /// Runs until this member belongs to a cluster.
    pub(crate) async fn run(
        &self,
        waiting: &watch::Sender<(Reason, String)>,
    ) -> anyhow::Result<Outcome> {
        if self.store.has_committed() {
            let outcome = self.resumed().await;
            self.started
                .send_replace(matches!(outcome, Outcome::Member(_)));
            return Ok(outcome);
        }
        loop {
            let me = self.me();
            let request = v1::HelloRequest {
                cluster: me.cluster.clone(),
                from_name: me.name.0.clone(),
                from_store_id: me.store_id.0.clone(),
                peers: wire_peers(&me.peers),
            };
            // This member's own address too: it may lead to somebody else.
            let mut replies = services::ask_peers(&me.peers, &request, ANSWER_MAX).await;
            if let Some(proof) = self.went_back(replies.values().flatten()) {
                return Ok(Outcome::WentBack(proof));
            }
            let own = replies.remove(&me.name).flatten().as_ref().map(hello);
            let answers = replies
                .iter()
                .map(|(name, reply)| (name.clone(), reply.as_ref().map(hello)));
            match next(&me, own.as_ref(), &answers.collect()) {
                Next::Wait(reason, text) => self.wait(waiting, reason, text).await,
                Next::Form(cluster_id) => {
                    if let Err(error) = self.form(cluster_id, &replies).await {
                        self.wait(waiting, Reason::Forming, format!("{error:#}"))
                            .await;
                    }
                }
                Next::Start { initialize } => {
                    self.started.send_replace(true);
                    let in_doubt = false;
                    return Ok(Outcome::Member(Entry {
                        initialize,
                        in_doubt,
                    }));
                }
                Next::Rejoin { via, cluster_id } => {
                    let address = me.peers.get(&via).context("an unknown member")?;
                    match self.rejoin(address, cluster_id).await {
                        Ok(()) => {
                            self.started.send_replace(true);
                            return Ok(Outcome::Member(Entry::default()));
                        }
                        Err(error) => {
                            let text = format!("{via} does not take this member: {error:#}");
                            let reason = error
                                .downcast_ref::<rejoin::Refusal>()
                                .map_or(Reason::StoreDamaged, |refusal| refusal.reason);
                            self.wait(waiting, reason, text).await;
                        }
                    }
                }
                Next::Unbind => {
                    tracing::warn!("the formation that bound this member was lost: begun again");
                    self.store.unbind().await?;
                }
            }
        }
    }

    async fn wait(&self, waiting: &watch::Sender<(Reason, String)>, reason: Reason, text: String) {
        waiting.send_if_modified(|current| {
            let news = current.0 != reason || current.1 != text;
            if news {
                tracing::info!(%reason, text, "waiting: {}", reason.sentence());
                *current = (reason, text.clone());
            }
            news
        });
        tokio::time::sleep(ASK_PAUSE).await;
    }
}
