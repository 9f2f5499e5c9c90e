//! Epochs and leases: adopted, held, and released once nothing of their tree is left.

use std::sync::Arc;
use std::time::Duration;

use pgha_core::Epoch;
use pgha_core::decide::Data;

use crate::agent::{Agent, Event};
use crate::release::{self, Releasing};

/// Between tries to write an epoch to a disk that fails.
const ADOPT_PAUSE: Duration = Duration::from_millis(500);

impl Agent {
    pub(super) fn adopt(&mut self, epoch: Epoch) {
        if self.busy.adopting.is_some_and(|busy| busy >= epoch) {
            return;
        }
        self.busy.adopting = Some(epoch);
        let grants = Arc::clone(&self.parts.grants);
        let events = self.events.0.clone();
        tokio::spawn(async move {
            if let Err(error) = grants.adopt(epoch).await {
                tracing::error!(%error, %epoch, "an epoch was not adopted: trying again");
                tokio::time::sleep(ADOPT_PAUSE).await;
            }
            let _ = events.send(Event::Adopted(epoch));
        });
    }

    pub(super) fn release(&mut self, epoch: Epoch, why: &str) {
        if self.busy.released >= epoch {
            self.local.releasable = None;
            return;
        }
        let Some((secret, report)) = self.secrets.release(epoch) else {
            self.local.releasable = None;
            return;
        };
        self.busy.released = epoch;
        self.local.releases(epoch);
        let state = self.state.borrow().clone();
        let shutdown_lsn = match &self.local.data {
            Data::Cluster(cluster) => cluster.shutdown_lsn,
            Data::Unknown | Data::Missing | Data::Unfinished | Data::Unusable(_) => None,
        };
        let releasing = Releasing {
            shutdown_lsn,
            cluster_id: state.state.cluster_id.clone(),
            generation: state.state.generation,
            epoch,
            secret,
            holder: self.site_name().clone(),
            why: why.to_owned(),
            seen_to_fenced_us: report.as_ref().map_or(0, |report| report.seen_to_fenced_us),
            seen_to_empty_us: report.as_ref().map_or(0, |report| report.seen_to_empty_us),
        };
        self.parts
            .grants
            .release(epoch, releasing.secret.bytes(), releasing.note());
        let addresses = state
            .state
            .members
            .iter()
            .filter(|(name, _)| *name != self.site_name())
            .map(|(_, member)| member.addresses.raft.clone())
            .collect();
        self.releases
            .push(tokio::spawn(release::send(releasing, addresses)));
    }
}
