//! What the other members say: one stream of reports from each, for as long as it is a member.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use pgha_core::decide::Heard;
use pgha_core::report::MemberReport;
use pgha_core::{ClusterState, MemberName, Mono, Nonce, RaftId, StoreId};
use pgha_guard::clock;
use pgha_proto::{Parties, v1};
use pgha_raft::RaftNode;
use tokio::task::JoinHandle;

use crate::net;
use crate::wake::Wake;
use crate::written::{self, OwnStore, Written};

/// A stream that says nothing for so long is opened anew: its connection may be dead.
const SILENT_MAX: Duration = Duration::from_millis(1500);
const OPEN_MAX: Duration = Duration::from_secs(1);
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

#[derive(Clone, Debug, Default)]
struct Known {
    report: Option<MemberReport>,
    /// How often its store was written, at the most.
    written: Option<Written>,
    /// Its store is an old copy.
    went_back: bool,
    at: Mono,
    since: Mono,
    refused_at: Option<Mono>,
    /// What its address answers while it does not report: it may be somebody else's by now.
    answer: Option<String>,
}

impl Known {
    /// Remembers how often the store was written, and takes no report of one that is an old copy. Its
    /// member is told when the next stream is opened, at once: what it says then decides.
    fn follow_store(
        &mut self,
        name: &MemberName,
        news: Option<&MemberReport>,
    ) -> anyhow::Result<()> {
        let Some(told) = news.and_then(Written::told) else {
            return Ok(());
        };
        if let Some(before) = self.written.as_ref().filter(|known| known.is_above(&told)) {
            if !std::mem::replace(&mut self.went_back, true) {
                tracing::error!(
                    member = %name, told = before.times, is = told.times,
                    "its Raft store is older than what it told of it: an old copy was put back"
                );
            }
            bail!("its Raft store is an old copy");
        }
        self.went_back = false;
        self.written = Some(told);
        Ok(())
    }
}

type Table = Arc<Mutex<BTreeMap<MemberName, Known>>>;

/// The newest report of every other member.
pub(crate) struct Peers {
    me: MemberName,
    raft: Arc<RaftNode>,
    own_store: Arc<OwnStore>,
    wake: Wake,
    table: Table,
    watchers: Mutex<BTreeMap<MemberName, Watcher>>,
}

struct Watcher {
    target: Target,
    task: JoinHandle<()>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    raft_id: RaftId,
    store_id: StoreId,
    address: String,
}

impl Target {
    /// What is news in the report of the member that was asked. An address may be somebody else's by
    /// now, whose position must not count as that member's.
    fn report(
        &self,
        name: &MemberName,
        by: &Parties,
        report: &v1::Report,
    ) -> anyhow::Result<Option<MemberReport>> {
        self.expect(by.from, &by.from_store)?;
        if report.report_json.is_empty() {
            return Ok(None);
        }
        let news: MemberReport = serde_json::from_slice(&report.report_json)?;
        if news.name != *name {
            bail!("the report is of {}, and not of {name}", news.name);
        }
        self.expect(news.raft_id, &news.store_id)?;
        Ok(Some(news))
    }

    fn expect(&self, raft_id: RaftId, store_id: &StoreId) -> anyhow::Result<()> {
        if (raft_id, store_id) != (self.raft_id, &self.store_id) {
            bail!(
                "raft id {raft_id} with store {store_id} reports, and not raft id {} with store {}",
                self.raft_id,
                self.store_id
            );
        }
        Ok(())
    }
}

impl Peers {
    pub(crate) fn new(
        me: MemberName,
        raft: Arc<RaftNode>,
        own_store: Arc<OwnStore>,
        wake: Wake,
    ) -> Self {
        Self {
            me,
            raft,
            own_store,
            wake,
            table: Table::default(),
            watchers: Mutex::default(),
        }
    }

    /// This member itself, who is in no table.
    pub(crate) const fn me(&self) -> &MemberName {
        &self.me
    }

    /// Watches exactly the other members of `state`.
    pub(crate) fn follow_members(&self, state: &ClusterState) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|name, _| state.members.contains_key(name));
        for (name, member) in &state.members {
            let target = Target {
                raft_id: member.raft_id,
                store_id: member.store_id.clone(),
                address: member.addresses.raft.clone(),
            };
            if *name == self.me || watchers.get(name).is_some_and(|w| w.target == target) {
                continue;
            }
            let watch = Watch {
                name: name.clone(),
                target: target.clone(),
                raft: Arc::clone(&self.raft),
                own_store: Arc::clone(&self.own_store),
                wake: self.wake.clone(),
                table: Arc::clone(&self.table),
            };
            let task = tokio::spawn(watch.run());
            watchers.insert(name.clone(), Watcher { target, task });
        }
    }

    /// How often this store was written, as far as its member told.
    pub(crate) fn written(&self, store: &StoreId) -> Option<Written> {
        written_to(&self.table, store)
    }

    /// Everybody who has ever reported to this process.
    pub(crate) fn heard(&self) -> BTreeMap<MemberName, Heard> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table
            .iter()
            .filter_map(|(name, known)| {
                let report = known.report.clone()?;
                let heard = Heard {
                    report,
                    at: known.at,
                    since: known.since,
                    refused_at: known.refused_at,
                };
                Some((name.clone(), heard))
            })
            .collect()
    }
}

impl Peers {
    /// What the addresses of members answer that do not report.
    pub(crate) fn answers(&self) -> BTreeMap<MemberName, String> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let answers = table.iter();
        answers
            .filter_map(|(name, known)| Some((name.clone(), known.answer.clone()?)))
            .collect()
    }
}

fn written_to(table: &Table, store: &StoreId) -> Option<Written> {
    let table = table.lock().unwrap_or_else(PoisonError::into_inner);
    let written = table.values().filter_map(|known| known.written.as_ref());
    let written = written.filter(|written| written.store == *store);
    written.max_by_key(|written| written.times).cloned()
}

struct Watch {
    name: MemberName,
    target: Target,
    raft: Arc<RaftNode>,
    own_store: Arc<OwnStore>,
    wake: Wake,
    table: Table,
}

impl Watch {
    async fn run(self) {
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

#[cfg(test)]
mod tests {
    use pgha_core::report::{GrantReport, MemberState, Role};
    use pgha_core::{Addresses, Epoch, MemberKind};

    use super::*;

    fn target() -> Target {
        Target {
            raft_id: RaftId(2),
            store_id: "s2".into(),
            address: "127.0.0.1:1".to_owned(),
        }
    }

    fn parties(from: u64, store: &str) -> Parties {
        Parties {
            cluster_id: "c".into(),
            generation: pgha_core::Generation(1),
            from: RaftId(from),
            from_store: store.into(),
            to: RaftId(1),
            to_store: None,
        }
    }

    fn report_of(name: &str, raft_id: u64, store: &str) -> v1::Report {
        let report = MemberReport {
            name: name.into(),
            raft_id: RaftId(raft_id),
            store_id: store.into(),
            nonce: Nonce(1),
            kind: MemberKind::Data,
            addresses: Addresses::default(),
            adopted: Epoch(1),
            applied_index: 1,
            store_sequence: 1,
            role: Role::Replica,
            state: MemberState::Streaming,
            reason: None,
            detail: None,
            timeline: None,
            received: None,
            replayed: None,
            system_identifier: None,
            standing: None,
            gate_open: None,
            grant: GrantReport::default(),
            opened: None,
            checkpointed: None,
            slots: Vec::new(),
            lost: None,
            shutting_down: false,
            restart_pending: Vec::new(),
        };
        v1::Report {
            identity: None,
            sequence: 1,
            report_json: serde_json::to_vec(&report).unwrap(),
            ..v1::Report::default()
        }
    }

    #[test]
    fn a_report_of_an_earlier_state_of_the_store_is_not_taken() {
        let mut known = Known::default();
        let name: MemberName = "n2".into();
        let mut follow = |store: &str, times| {
            let report = report_of("n2", 2, store);
            let report: MemberReport = serde_json::from_slice(&report.report_json).unwrap();
            let report = MemberReport {
                store_sequence: times,
                ..report
            };
            let taken = known.follow_store(&name, Some(&report)).is_ok();
            (taken, known.written.as_ref().map_or(0, |w| w.times))
        };
        assert_eq!(follow("s2", 9), (true, 9));
        assert_eq!(follow("s2", 9), (true, 9));
        // What is remembered stays, to be told.
        assert_eq!(follow("s2", 8), (false, 9));
        assert_eq!(follow("s2", 10), (true, 10));
        // From a version that tells nothing.
        assert_eq!(follow("s2", 0), (true, 10));
        assert_eq!(follow("s3", 1), (true, 1));
        assert!(known.follow_store(&name, None).is_ok());
    }

    #[test]
    fn only_the_member_that_was_asked_reports() {
        let name: MemberName = "n2".into();
        let take = |by: &Parties, report: &v1::Report| target().report(&name, by, report);
        let asked = parties(2, "s2");
        let taken = take(&asked, &report_of("n2", 2, "s2")).unwrap();
        assert_eq!(taken.map(|report| report.name), Some(name.clone()));
        assert_eq!(take(&asked, &v1::Report::default()).unwrap(), None);

        // Even a beat is somebody's.
        assert!(take(&parties(3, "s3"), &v1::Report::default()).is_err());
        assert!(take(&parties(2, "s9"), &v1::Report::default()).is_err());
        for other in [
            report_of("n3", 2, "s2"),
            report_of("n2", 3, "s2"),
            report_of("n2", 2, "s9"),
        ] {
            assert!(take(&asked, &other).is_err());
        }
    }
}
