//! Asks the listed peers and does what is next, until this member belongs to a cluster.

use std::time::Duration;

use anyhow::Context as _;
use pgha_core::formation::{Next, next};
use pgha_core::{Generation, Reason};
use pgha_proto::v1;
use tokio::sync::watch;

use super::Formation;
use super::wire::{hello, wire_peers};
use crate::rejoin;
use crate::services::{self, ANSWER_MAX};

const ASK_PAUSE: Duration = Duration::from_millis(150);

/// How this member takes part from now on.
pub(crate) enum Outcome {
    /// As the member that its store is bound as.
    Member {
        /// Whether it writes the first entry.
        initialize: bool,
    },
    /// Not with this store: the cluster is of this generation by now.
    RuledOut(Generation),
    /// Not with this store: it was written so often when it was heard of last, and was less often now.
    WentBack {
        /// As others were told.
        told: u64,
        /// As it is.
        is: u64,
    },
}

impl Formation {
    /// Runs until this member belongs to a cluster.
    pub(crate) async fn run(
        &self,
        waiting: &watch::Sender<(Reason, String)>,
    ) -> anyhow::Result<Outcome> {
        if self.store.has_committed() {
            if let Some(outcome) = self.overtaken().await {
                return Ok(outcome);
            }
            self.started.send_replace(true);
            return Ok(Outcome::Member { initialize: false });
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
                    return Ok(Outcome::Member { initialize });
                }
                Next::Rejoin { via, cluster_id } => {
                    let address = me.peers.get(&via).context("an unknown member")?;
                    match self.rejoin(address, cluster_id).await {
                        Ok(()) => {
                            self.started.send_replace(true);
                            return Ok(Outcome::Member { initialize: false });
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
