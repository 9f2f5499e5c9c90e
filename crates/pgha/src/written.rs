//! How often members' Raft stores were written, as the others remember it: what tells an old copy of a
//! store from the store (faults 52).
//!
//! The number of one store never gets less, over all processes that have it open one after the other:
//! it is told only once it is durable. A report may be late, so that a low number alone proves nothing
//! to whoever hears it; the member itself compares what others remember with what it has.

use std::sync::Arc;

use pgha_core::report::MemberReport;
use pgha_core::{Nonce, StoreId};
use pgha_raft::RaftNode;
use tokio::sync::watch;

/// The most that a member told of its store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) store: StoreId,
    pub(crate) times: u64,
    /// Of the process that told it.
    pub(crate) by: Nonce,
}

impl Written {
    /// What this report tells; none from a version that tells nothing.
    pub(crate) fn told(report: &MemberReport) -> Option<Self> {
        (report.store_sequence > 0).then(|| Self {
            store: report.store_id.clone(),
            times: report.store_sequence,
            by: report.nonce,
        })
    }

    /// Whether `told`, which came later, is of the same store in an earlier state.
    pub(crate) fn is_above(&self, told: &Self) -> bool {
        self.store == told.store && self.times > told.times
    }
}

/// The number and the process as they are on the wire.
pub(crate) fn wire(written: Option<&Written>) -> (u64, u64) {
    written.map_or((0, 0), |written| (written.times, written.by.0))
}

/// What others said that proves this member's store an old copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WentBack {
    /// So often it had been written, as it told others.
    pub(crate) told: u64,
    /// So often it has been.
    pub(crate) is: u64,
}

impl WentBack {
    /// `told` was told by the process `by`. What this very process told is compared with the store as
    /// it is now, what another one told with the store as this process found it: it has written to it
    /// since.
    fn proven(told: u64, by: Nonce, me: Nonce, opened: u64, now: u64) -> Option<Self> {
        let is = if by == me { now } else { opened };
        (told > is).then_some(Self { told, is })
    }
}

/// This member's own store, and what others say of it.
pub(crate) struct OwnStore {
    raft: Arc<RaftNode>,
    nonce: Nonce,
    proof: watch::Sender<Option<WentBack>>,
}

impl OwnStore {
    pub(crate) fn new(raft: Arc<RaftNode>, nonce: Nonce) -> Self {
        let proof = watch::Sender::new(None);
        Self { raft, nonce, proof }
    }

    /// A peer remembers that the process `by` told `told`; 0 where it remembers nothing, which vouches
    /// for this store, too: it is all that can be known there.
    pub(crate) fn hear(&self, told: u64, by: Nonce) {
        let store = self.raft.store();
        let (opened, now) = (store.opened_sequence(), store.sequence());
        match WentBack::proven(told, by, self.nonce, opened, now) {
            Some(proof) => drop(self.proof.send_replace(Some(proof))),
            // Who remembers less proves nothing against that.
            None if self.proof.borrow().is_some() => {}
            None => self.raft.vouched_for(),
        }
    }

    /// Resolves to the proof that it is an old copy, if one ever comes.
    pub(crate) fn proof(&self) -> watch::Receiver<Option<WentBack>> {
        self.proof.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Nonce = Nonce(7);
    const EARLIER: Nonce = Nonce(6);

    #[test]
    fn what_an_earlier_process_told_is_compared_with_the_store_as_it_was_found() {
        let proven = |told| WentBack::proven(told, EARLIER, ME, 95, 300);
        assert_eq!(proven(0), None);
        assert_eq!(proven(95), None);
        // Written since, or not: 96 is gone.
        assert_eq!(proven(96), Some(WentBack { told: 96, is: 95 }));
    }

    #[test]
    fn what_this_process_told_is_compared_with_the_store_as_it_is() {
        let proven = |told| WentBack::proven(told, ME, ME, 95, 300);
        assert_eq!(proven(96), None);
        assert_eq!(proven(300), None);
        // The machine was set back with the process in it.
        assert_eq!(proven(301), Some(WentBack { told: 301, is: 300 }));
    }

    #[test]
    fn only_the_same_store_is_compared() {
        let written = |store: &str, times| Written {
            store: store.into(),
            times,
            by: ME,
        };
        assert!(written("s2", 9).is_above(&written("s2", 8)));
        assert!(!written("s2", 9).is_above(&written("s2", 9)));
        assert!(!written("s2", 9).is_above(&written("s3", 1)));
    }
}
