//! The stream of one member's reports, opened again and again.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use pgha_core::decide::Heard;
use pgha_core::{MemberName, Nonce};
use pgha_guard::clock;
use pgha_proto::{Parties, v1};
use pgha_raft::RaftNode;

use super::target::Target;
use super::{Table, written_to};
use crate::net;
use crate::wake::Wake;
use crate::written::{self, OwnStore};

/// A stream that says nothing for so long is opened anew: its connection may be dead.
const SILENT_MAX: Duration = Duration::from_millis(1500);
const OPEN_MAX: Duration = Duration::from_secs(1);
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Watch {
    pub(super) name: MemberName,
    pub(super) target: Target,
    pub(super) raft: Arc<RaftNode>,
    pub(super) own_store: Arc<OwnStore>,
    pub(super) wake: Wake,
    pub(super) table: Table,
}

impl Watch {
    pub(super) async fn run(self) {
        loop {
            if let Err(error) = self.follow().await {
                tracing::debug!(member = %self.name, %error, "no reports");
                self.note(&error);
                if net::is_refused(error.as_ref()) {
                    self.refused();
                }
            }
            tokio::time::sleep(RECONNECT_PAUSE).await;
        }
    }

    async fn follow(&self) -> anyhow::Result<()> {
        let channel = net::channel(&self.target.address)
            .ok_or_else(|| anyhow::anyhow!("{} is no address", self.target.address))?;
        let mut client = v1::member_client::MemberClient::new(channel);
        let identity = self
            .raft
            .identity_to(self.target.raft_id, Some(self.target.store_id.clone()));
        let remembered = written_to(&self.table, &self.target.store_id);
        let (your_store_sequence, your_nonce) = written::wire(remembered.as_ref());
        let request = v1::WatchRequest {
            identity: Some(identity),
            your_store_sequence,
            your_nonce,
        };
        let reports = tokio::time::timeout(OPEN_MAX, client.watch(request)).await??;
        let mut reports = reports.into_inner();
        while let Some(report) = tokio::time::timeout(SILENT_MAX, reports.message()).await?? {
            let by = self.raft.check_identity(report.identity.as_ref())?;
            self.take(&by, &report)?;
            let told_by = Nonce(report.your_nonce);
            self.own_store.hear(report.your_store_sequence, told_by);
        }
        Ok(())
    }

    fn take(&self, by: &Parties, report: &v1::Report) -> anyhow::Result<()> {
        let now = clock::now();
        let news = self.target.report(&self.name, by, report)?;
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let known = table.entry(self.name.clone()).or_default();
        known.follow_store(&self.name, news.as_ref())?;
        let refused = known.refused_at.is_some();
        known.since = Heard::since_after(known.since, known.at, refused, now);
        known.at = now;
        known.answer = None;
        known.cluster_reason.clone_from(&report.cluster_reason);
        let came_back = known.refused_at.take().is_some();
        let told = news.is_some();
        if told {
            known.report = news;
        }
        drop(table);
        if told || came_back {
            self.wake.wake();
        }
        Ok(())
    }

    fn note(&self, error: &anyhow::Error) {
        let status = error.downcast_ref::<tonic::Status>();
        status.inspect(|status| self.raft.note_refusal(status));
        // What has a source was made up by the transport: nobody answered.
        let answer = status.filter(|status| std::error::Error::source(*status).is_none());
        let address = &self.target.address;
        let answer = answer.map(|status| format!("{address} answers: {}", status.message()));
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.entry(self.name.clone()).or_default().answer = answer;
    }

    fn refused(&self) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let known = table.entry(self.name.clone()).or_default();
        let news = known.refused_at.is_none();
        known.refused_at = Some(clock::now());
        drop(table);
        if news {
            // Its process is gone: if it led, nobody has to be patient with it.
            self.raft.leader_gone(self.target.raft_id);
            self.wake.wake();
        }
    }
}
