//! What was heard of the leader, noted where its messages arrive: a disk that stalls behind that
//! point must not make a live leader look silent.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pgha_core::Mono;
use tokio::sync::watch;

use crate::types::{LogId, Vote};

/// What one member knows about the leader by listening.
pub(crate) struct Ear {
    heard: Mutex<Heard>,
    changed: watch::Sender<u64>,
}

/// A copy of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The leader of the newest message.
    pub leader: Option<u64>,
    /// When its newest message arrived.
    pub at: Option<Mono>,
    /// Silence counts from here at the earliest: the start of the process, or the end of a pause in
    /// which it could not hear anything.
    pub deaf_until: Mono,
    /// The process of `leader` is known to have ended, since when.
    pub gone: Option<Mono>,
    /// The highest commit index that a leader told for an entry of its own term.
    pub told_commit: Option<u64>,
}

/// Whether there is a leader worth waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Heard of, or not yet missed, within the lease; for so long more.
    Fresh(Duration),
    /// Silent for a lease.
    Silent,
    /// Known to be gone.
    Gone,
}

impl Heard {
    /// Since when nothing was heard.
    pub(crate) fn silent_since(&self) -> Mono {
        self.at
            .map_or(self.deaf_until, |at| at.max(self.deaf_until))
    }

    pub(crate) fn presence(&self, now: Mono, lease: Duration) -> Presence {
        if self.gone.is_some() {
            return Presence::Gone;
        }
        let end = self.silent_since() + lease;
        if end > now {
            Presence::Fresh(end.since(now))
        } else {
            Presence::Silent
        }
    }
}

impl Ear {
    /// `leader` as far as the store knows; `deaf_until` is zero where nobody was ever heard.
    pub(crate) fn new(leader: Option<u64>, deaf_until: Mono) -> Self {
        Self {
            heard: Mutex::new(Heard {
                leader,
                at: None,
                deaf_until,
                gone: None,
                told_commit: None,
            }),
            changed: watch::Sender::new(0),
        }
    }

    pub(crate) fn heard(&self) -> Heard {
        *self.lock()
    }

    /// Wakes at a new leader, a gone one, and a higher commit index; not at each heartbeat.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// A message of a leader arrived whose vote is not below this member's own.
    pub(crate) fn hear(&self, vote: &Vote, now: Mono) {
        let leader = Some(vote.leader_id.node_id);
        self.update(|heard| {
            heard.at = Some(now);
            heard.leader = leader;
            heard.gone = None;
        });
    }

    /// The leader's log matched this one's and it told a commit index. One of an earlier term does
    /// not count: a new leader's own index may be behind what is committed (Raft paper, 5.4.2).
    pub(crate) fn told(&self, vote: &Vote, committed: Option<&LogId>) {
        if let Some(committed) = committed.filter(|id| id.leader_id == vote.leader_id) {
            self.update(|heard| {
                heard.told_commit = heard.told_commit.max(Some(committed.index));
            });
        }
    }

    /// The process of `leader` has ended. Ignored where another one leads by now: the one heard
    /// last, or `known` from openraft's vote where nobody was heard yet.
    pub(crate) fn mark_gone(&self, leader: u64, known: Option<u64>, now: Mono) {
        self.update(|heard| {
            if heard.at.is_none() && known.is_some() {
                heard.leader = known;
            }
            if heard.leader == Some(leader) && heard.gone.is_none() {
                heard.gone = Some(now);
            }
        });
    }

    /// This process did not run for a while: what it did not hear meanwhile proves nothing.
    pub(crate) fn resumed(&self, now: Mono) {
        self.update(|heard| heard.deaf_until = heard.deaf_until.max(now));
    }

    fn update(&self, change: impl FnOnce(&mut Heard)) {
        let news = {
            let mut heard = self.lock();
            let before = *heard;
            change(&mut heard);
            let key = |heard: &Heard| (heard.leader, heard.gone, heard.told_commit);
            key(&before) != key(&heard)
        };
        if news {
            self.wake();
        }
    }

    /// Has whoever follows this look again.
    pub(crate) fn wake(&self) {
        self.changed
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_millis(600);

    fn at(millis: u64) -> Mono {
        Mono::from_millis(millis)
    }

    #[test]
    fn silence_counts_from_the_last_message_or_from_the_end_of_deafness() {
        let ear = Ear::new(Some(1), at(1000));
        let presence = |now| ear.heard().presence(at(now), LEASE);
        assert_eq!(presence(1599), Presence::Fresh(Duration::from_millis(1)));
        assert_eq!(presence(1600), Presence::Silent);
        ear.hear(&Vote::new_committed(1, 1), at(2000));
        assert_eq!(presence(2100), Presence::Fresh(Duration::from_millis(500)));
        ear.resumed(at(9000));
        assert_eq!(presence(9100), Presence::Fresh(Duration::from_millis(500)));
        assert_eq!(presence(9600), Presence::Silent);
    }

    #[test]
    fn gone_holds_until_a_leader_is_heard() {
        let ear = Ear::new(None, at(0));
        ear.hear(&Vote::new_committed(1, 1), at(100));
        ear.mark_gone(2, Some(2), at(110));
        assert_eq!(ear.heard().gone, None);
        ear.mark_gone(1, None, at(120));
        assert_eq!(ear.heard().presence(at(121), LEASE), Presence::Gone);
        ear.hear(&Vote::new_committed(2, 3), at(130));
        assert!(matches!(
            ear.heard().presence(at(131), LEASE),
            Presence::Fresh(_)
        ));
    }

    #[test]
    fn a_member_that_just_started_takes_the_leader_from_its_vote() {
        let ear = Ear::new(None, at(0));
        ear.mark_gone(2, Some(3), at(10));
        assert_eq!((ear.heard().leader, ear.heard().gone), (Some(3), None));
        ear.mark_gone(3, Some(3), at(20));
        assert_eq!(ear.heard().gone, Some(at(20)));
    }

    #[test]
    fn a_commit_index_of_an_earlier_term_is_not_taken_for_told() {
        let ear = Ear::new(None, at(0));
        let id = |term, index| LogId::new(openraft::CommittedLeaderId::new(term, 1), index);
        let vote = Vote::new_committed(2, 1);
        ear.told(&vote, Some(&id(1, 9)));
        assert_eq!(ear.heard().told_commit, None);
        ear.told(&vote, Some(&id(2, 7)));
        ear.told(&vote, Some(&id(2, 5)));
        assert_eq!(ear.heard().told_commit, Some(7));
    }
}
