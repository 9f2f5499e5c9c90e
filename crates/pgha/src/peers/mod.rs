//! What the other members say: one stream of reports from each, for as long as it is a member.

#[cfg(test)]
mod sample;
mod target;
mod watch;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use pgha_core::decide::Heard;
use pgha_core::report::MemberReport;
use pgha_core::{ClusterState, MemberName, Mono, StoreId};
use pgha_guard::clock;
use pgha_proto::v1;
use pgha_raft::RaftNode;
use tokio::task::JoinHandle;

use crate::wake::Wake;
use crate::written::{OwnStore, Written};
use target::Target;
use watch::Watch;

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
    /// What it waits for or refuses as raft leader.
    cluster_reason: Option<v1::ClusterReason>,
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

    /// What a member waits for or refuses as raft leader, by its word that is no older than that.
    pub(crate) fn cluster_reason(
        &self,
        leader: &MemberName,
        age: Duration,
    ) -> Option<v1::ClusterReason> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let known = table.get(leader)?;
        if clock::now().since(known.at) >= age {
            return None;
        }
        known
            .cluster_reason
            .clone()
            .filter(|_| known.refused_at.is_none())
    }

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

#[cfg(test)]
mod tests {
    use super::sample::report_of;
    use super::*;

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
}
