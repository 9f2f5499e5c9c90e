//! The end of a PostgreSQL: what it means for the next start, and what lies in its directory now.

use std::sync::atomic::Ordering;
use std::time::Duration;

use pgha_core::decide::{Data, Tree};
use pgha_core::{Lsn, Mono};
use pgha_guard::clock;

use super::Event;
use crate::agent::Agent;
use crate::server::{Ended, Prober};

/// A standby that ends by itself sooner than this after its start counts as one that did not start.
const GOOD_RUN: Duration = Duration::from_secs(30);
/// Between two looks at data that cannot be used.
const UNUSABLE_LOOK: Duration = Duration::from_secs(5);

impl Agent {
    /// A start that never answered, or ended soon, is a failed start; the next one waits.
    pub(super) fn ended_by_itself(&mut self) {
        let since = match &self.local.tree {
            Tree::Standby { since, .. } | Tree::Primary { since, .. } => *since,
            Tree::Unknown | Tree::Empty => return,
        };
        let now = clock::now();
        let answered = self.local.probe.is_some();
        let primary = matches!(self.local.tree, Tree::Primary { .. });
        if !answered || (now.since(since) < GOOD_RUN && !primary) {
            let tail = self.parts.worker.as_ref().map(|w| w.site().log_tail());
            self.count_start_failure(tail.unwrap_or_default());
        }
    }

    pub(in crate::agent) fn count_start_failure(&mut self, detail: String) {
        tracing::warn!(detail, "PostgreSQL did not start, or ended at once");
        self.local.start_failed(detail, clock::now());
    }

    /// Nothing runs: what was known of the run is void, and the directory is looked into again.
    pub(super) fn tree_is_empty(&mut self) {
        self.ended = self.ended_primary();
        self.local.ends();
        self.busy.assuming = None;
        self.prober = None;
        // The next start takes over what waits for it.
        self.restart_pending.clear();
        // What hung is gone. The next epoch of this member would not get its lease otherwise.
        self.parts.shared.hung.store(false, Ordering::Release);
        self.inspect();
    }

    /// What is known of the primary that has just ended, if it was one.
    fn ended_primary(&self) -> Option<Ended> {
        let timeline = match (&self.local.tree, &self.local.probe) {
            (Tree::Primary { .. }, Some(probe)) if !probe.in_recovery => probe.timeline,
            _ => return None,
        };
        let flush = self.parts.shared.flush_lsn.load(Ordering::Acquire);
        (flush > 0).then(|| Ended {
            timeline,
            flush: Some(Lsn(flush)),
            tail: self.prober.as_ref().map(Prober::tail),
        })
    }

    /// The primary that an earlier process of this member ran, where its data does not start any more.
    /// To read its WAL takes time, which a start is not to wait for.
    fn ended_before(&self) -> Option<Ended> {
        let state = &self.state.borrow().state;
        let mut entries = state.journal.iter().rev();
        let own = entries.find(|entry| entry.primary.as_ref() == Some(&self.parts.me.name))?;
        let timeline = own.timeline.filter(|_| own.opened)?;
        (self.local.start_failures.count > 0).then_some(Ended {
            timeline,
            flush: None,
            tail: None,
        })
    }

    /// Looks into the data directory; what was known of it is void until then.
    pub(in crate::agent) fn inspect(&mut self) {
        if self.look() {
            self.local.data = Data::Unknown;
        }
    }

    /// Whoever moves a directory away that is not the cluster's need not restart the sidecar as well.
    pub(in crate::agent) fn inspect_unusable(&mut self, now: Mono) {
        if matches!(self.local.data, Data::Unusable(_)) && now >= self.data_look {
            self.look();
        }
    }

    /// Begins to look, away from the loop, where nothing runs.
    fn look(&mut self) -> bool {
        let Some(worker) = &self.parts.worker else {
            return false;
        };
        if !matches!(self.local.tree, Tree::Empty) {
            return false;
        }
        self.data_look = clock::now() + UNUSABLE_LOOK;
        let site = worker.site().clone();
        let events = self.events.0.clone();
        let (ended, ran) = (self.ended.clone().or_else(|| self.ended_before()), self.ran);
        tokio::task::spawn_blocking(move || {
            let _ = events.send(Event::Inspected(site.inspect(ended.as_ref(), ran)));
        });
        true
    }
}
