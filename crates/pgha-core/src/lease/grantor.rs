//! The grantor's side: whom this voter supports, and until when.

use std::fmt;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::lease::LeaseTiming;
use crate::{Epoch, Lsn, Mono, Nonce};

/// SHA-256 of a holder's secret.
pub type ReleaseHash = [u8; 32];

/// A renewal as it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal<M> {
    /// The epoch that is renewed.
    pub epoch: Epoch,
    /// The process that renews it.
    pub nonce: Nonce,
    /// Lease time of the holder.
    pub timing: LeaseTiming,
    /// What the holder's secret hashes to.
    pub release_hash: ReleaseHash,
    /// The primary's flush position.
    pub flush_lsn: Lsn,
    /// Which effective membership the holder counts with.
    pub membership: M,
    /// The highest epoch that the holder has adopted.
    pub adopted: Epoch,
}

/// What becomes of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Supported until the promise lapses.
    Granted,
    /// The epoch is new here: it has to be on disk before anything is answered. Ask again then.
    AdoptFirst(Epoch),
    /// Not supported.
    Refused(RenewalRefusal),
}

/// How far above everything it knows a member believes an epoch that somebody tells.
///
/// An adopted epoch is for ever: one that nobody will reach would end the cluster's last primary.
/// Epochs are raised one committed entry at a time, so whoever is so far behind has not applied a
/// million changes of primary. It must not grant before it has (`CatchingUp`), and adopts the epoch of
/// each entry as it applies it, without this bound: nobody honest is refused for ever.
pub const EPOCH_JUMP_MAX: u64 = 1_000_000;

/// Whether a member that knows of `known` should believe that `told` exists.
pub fn is_believable(told: Epoch, known: Epoch) -> bool {
    told.0.saturating_sub(known.0) <= EPOCH_JUMP_MAX
}

/// What becomes of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Its secret fits the promise made here: the epoch is over.
    First,
    /// It was accepted before, with this very secret.
    Again,
    /// It proves nothing.
    Unfit,
}

impl Release {
    /// Whether the secret proves that nothing of the epoch is left.
    pub fn fits(self) -> bool {
        self != Self::Unfit
    }
}

/// Why a renewal is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewalRefusal {
    /// A newer epoch was adopted.
    OldEpoch,
    /// The epoch was released, or belongs to another process.
    Dead,
    /// A promise for an earlier epoch has not lapsed.
    Promised,
    /// Promises from before the start or the change of membership may still live.
    StartWait,
    /// The log has not reached what a current leader has committed.
    CatchingUp,
    /// The holder counts with another membership.
    Membership,
    /// It speaks of an epoch further ahead than any member can be behind ([`EPOCH_JUMP_MAX`]).
    Unbelievable,
}

impl fmt::Display for RenewalRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OldEpoch => "old_epoch",
            Self::Dead => "dead",
            Self::Promised => "promised",
            Self::StartWait => "start_wait",
            Self::CatchingUp => "catching_up",
            Self::Membership => "membership",
            Self::Unbelievable => "unbelievable_epoch",
        })
    }
}

#[derive(Clone, Debug)]
struct Promise {
    epoch: Epoch,
    nonce: Nonce,
    until: Mono,
    received: Mono,
    release_hash: ReleaseHash,
    flush_lsn: Lsn,
}

/// One voter's promises. `M` names an effective membership (its log id).
#[derive(Clone, Debug)]
pub struct Grantor<M> {
    adopted: Epoch,
    promise: Option<Promise>,
    /// The highest epoch that was released here, and what its secret hashes to: a late renewal of it
    /// must find it dead.
    released: Option<(Epoch, ReleaseHash)>,
    started: Mono,
    quiet_until: Mono,
    caught_up: bool,
    membership: Option<M>,
    /// Since when silence of the newest epoch counts, while nothing was received of it.
    epoch_known: Option<(Epoch, Mono)>,
}

impl<M: PartialEq + Clone> Grantor<M> {
    /// A grantor that has just started: it has forgotten its promises, so it makes none until the
    /// longest of them is over. How long that may be is known for certain only once it has caught up.
    pub fn started(adopted: Epoch, now: Mono, wait: Duration) -> Self {
        Self {
            adopted,
            promise: None,
            released: None,
            started: now,
            quiet_until: now + wait,
            caught_up: false,
            membership: None,
            epoch_known: None,
        }
    }

    /// The highest epoch that is on disk here.
    pub const fn adopted(&self) -> Epoch {
        self.adopted
    }

    /// This epoch is on disk now.
    pub fn adopt(&mut self, epoch: Epoch) {
        self.adopted = self.adopted.max(epoch);
    }

    /// The applied index has reached the commit index that a current raft leader told; `wait` is what
    /// the settings of that moment ask of a started member. Those it started with may be from before a
    /// longer lease was set, under which it made promises and forgot them.
    pub fn set_caught_up(&mut self, wait: Duration) {
        if !self.caught_up {
            self.caught_up = true;
            self.quiet_until = self.quiet_until.max(self.started + wait);
        }
    }

    /// The effective membership is this one now. A change, or becoming a voter, is like a start: for
    /// `wait` only the holder that is supported already is renewed.
    pub fn set_membership(&mut self, membership: M, now: Mono, wait: Duration) {
        if self.membership.as_ref() == Some(&membership) {
            return;
        }
        // The first one only says what the store held at the start, whose wait is running.
        if self.membership.is_some() {
            self.quiet_until = self.quiet_until.max(now + wait);
        }
        self.membership = Some(membership);
    }

    /// The log named a primary for this epoch: from now on its silence counts.
    pub fn know_epoch(&mut self, epoch: Epoch, now: Mono) {
        if self.epoch_known.is_none_or(|(known, _)| known < epoch) {
            self.epoch_known = Some((epoch, now));
        }
    }

    /// Answers a renewal received at `now`.
    pub fn renew(&mut self, now: Mono, renewal: &Renewal<M>) -> Answer {
        let newest = renewal.epoch.max(renewal.adopted);
        if !is_believable(newest, self.known()) {
            return Answer::Refused(RenewalRefusal::Unbelievable);
        }
        if newest > self.adopted {
            return Answer::AdoptFirst(newest);
        }
        match self.refusal(now, renewal) {
            Some(refusal) => Answer::Refused(refusal),
            None => {
                self.promise(now, renewal);
                Answer::Granted
            }
        }
    }

    fn refusal(&self, now: Mono, renewal: &Renewal<M>) -> Option<RenewalRefusal> {
        if renewal.epoch < self.adopted {
            return Some(RenewalRefusal::OldEpoch);
        }
        if self.is_released(renewal.epoch) {
            return Some(RenewalRefusal::Dead);
        }
        if !self.caught_up {
            return Some(RenewalRefusal::CatchingUp);
        }
        if self.membership.as_ref() != Some(&renewal.membership) {
            return Some(RenewalRefusal::Membership);
        }
        match &self.promise {
            Some(promise) if promise.epoch == renewal.epoch => {
                (promise.nonce != renewal.nonce).then_some(RenewalRefusal::Dead)
            }
            // The same process renews a later epoch: it has one lease, so the earlier one is given
            // up by its holder, and the gate of both is the same (a reinstatement).
            Some(promise) if promise.nonce == renewal.nonce => None,
            Some(promise) if now < promise.until => Some(RenewalRefusal::Promised),
            Some(_) | None => (now < self.quiet_until).then_some(RenewalRefusal::StartWait),
        }
    }

    fn promise(&mut self, now: Mono, renewal: &Renewal<M>) {
        let mut until = now + renewal.timing.promise();
        let mut flush_lsn = renewal.flush_lsn;
        if let Some(promise) = &self.promise {
            // A shortened lease does not shorten what was promised before.
            until = until.max(promise.until);
            if promise.epoch == renewal.epoch {
                flush_lsn = flush_lsn.max(promise.flush_lsn);
            }
        }
        self.promise = Some(Promise {
            epoch: renewal.epoch,
            nonce: renewal.nonce,
            until,
            received: now,
            release_hash: renewal.release_hash,
            flush_lsn,
        });
    }

    /// The highest epoch that this member has adopted or read in the log.
    pub fn known(&self) -> Epoch {
        let named = self.epoch_known.map_or(Epoch::NONE, |(epoch, _)| epoch);
        named.max(self.adopted)
    }

    /// The holder's guard proves with its secret that nothing of the epoch is left.
    pub fn release(&mut self, epoch: Epoch, secret: &[u8]) -> Release {
        let proof = (epoch, release_hash(secret));
        if self.released == Some(proof) {
            return Release::Again;
        }
        match &mut self.promise {
            // An epoch has one secret, so this one is not released yet.
            Some(promise) if (promise.epoch, promise.release_hash) == proof => {
                promise.until = Mono::ZERO;
                self.released = Some(proof);
                Release::First
            }
            Some(_) | None => Release::Unfit,
        }
    }

    /// Whether `epoch` was released here, or a later one.
    pub fn is_released(&self, epoch: Epoch) -> bool {
        epoch > Epoch::NONE && self.released.is_some_and(|(newest, _)| newest >= epoch)
    }

    /// From when on the holder of `epoch` is silent for this voter, if nothing more is received; a
    /// holder of whom nothing was received yet is given the time that old promises may take.
    pub fn silent_at(&self, epoch: Epoch, timing: LeaseTiming) -> Option<Mono> {
        match (&self.promise, self.epoch_known) {
            (Some(promise), _) if promise.epoch == epoch => {
                Some(promise.received + timing.silent_after())
            }
            (_, Some((known, since))) if known == epoch => {
                Some(since + timing.promise() + timing.silent_after())
            }
            _ => None,
        }
    }

    /// The highest flush position that the holder of `epoch` told.
    pub fn flush_lsn(&self, epoch: Epoch) -> Option<Lsn> {
        self.promise
            .as_ref()
            .filter(|promise| promise.epoch == epoch)
            .map(|p| p.flush_lsn)
    }
}

/// What a secret's owner sends in its renewals.
pub fn release_hash(secret: &[u8]) -> ReleaseHash {
    Sha256::digest(secret).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing() -> LeaseTiming {
        LeaseTiming::from_millis(1500).expect("valid")
    }

    fn renewal(epoch: u64, nonce: u64) -> Renewal<u64> {
        Renewal {
            epoch: Epoch(epoch),
            nonce: Nonce(nonce),
            timing: timing(),
            release_hash: release_hash(&[epoch as u8]),
            flush_lsn: Lsn(epoch * 10),
            membership: 1,
            adopted: Epoch(epoch),
        }
    }

    fn ready() -> Grantor<u64> {
        let mut grantor = Grantor::started(Epoch(1), Mono::ZERO, Duration::ZERO);
        grantor.set_caught_up(Duration::ZERO);
        grantor.set_membership(1, Mono::ZERO, timing().promise());
        grantor
    }

    #[test]
    fn an_epoch_is_on_disk_before_it_is_granted() {
        let mut grantor = ready();
        assert_eq!(
            grantor.renew(Mono::ZERO, &renewal(2, 1)),
            Answer::AdoptFirst(Epoch(2))
        );
        grantor.adopt(Epoch(2));
        assert_eq!(grantor.renew(Mono::ZERO, &renewal(2, 1)), Answer::Granted);
        assert_eq!(
            grantor.renew(Mono::ZERO, &renewal(1, 1)),
            Answer::Refused(RenewalRefusal::OldEpoch)
        );
    }

    #[test]
    fn a_longer_lease_than_it_knew_at_its_start_is_waited_for() {
        let mut grantor = Grantor::started(Epoch(1), Mono::ZERO, timing().promise());
        grantor.set_membership(1, Mono::ZERO, timing().promise());
        let longer = LeaseTiming::from_millis(60_000).expect("valid");
        grantor.set_caught_up(longer.promise());
        assert_eq!(
            grantor.renew(Mono::from_millis(50_000), &renewal(1, 1)),
            Answer::Refused(RenewalRefusal::StartWait)
        );
        assert_eq!(
            grantor.renew(Mono::from_millis(60_061), &renewal(1, 1)),
            Answer::Granted
        );
    }

    #[test]
    fn a_promise_has_to_lapse_or_be_released() {
        let mut grantor = ready();
        assert_eq!(grantor.renew(Mono::ZERO, &renewal(1, 1)), Answer::Granted);
        grantor.adopt(Epoch(2));
        let promised = Answer::Refused(RenewalRefusal::Promised);
        assert_eq!(
            grantor.renew(Mono::from_millis(1501), &renewal(2, 2)),
            promised
        );
        let mut lapsed = grantor.clone();
        assert_eq!(
            lapsed.renew(Mono::from_millis(1502), &renewal(2, 2)),
            Answer::Granted
        );
        assert_eq!(grantor.release(Epoch(1), b"guess"), Release::Unfit);
        assert_eq!(
            grantor.renew(Mono::from_millis(2), &renewal(2, 2)),
            promised
        );
        assert_eq!(grantor.release(Epoch(1), &[1]), Release::First);
        assert_eq!(
            grantor.renew(Mono::from_millis(2), &renewal(2, 2)),
            Answer::Granted
        );
    }

    #[test]
    fn the_same_process_may_go_on_under_a_later_epoch() {
        let mut grantor = ready();
        assert_eq!(grantor.renew(Mono::ZERO, &renewal(1, 1)), Answer::Granted);
        grantor.adopt(Epoch(2));
        assert_eq!(
            grantor.renew(Mono::from_millis(1), &renewal(2, 1)),
            Answer::Granted
        );
        let old = Answer::Refused(RenewalRefusal::OldEpoch);
        assert_eq!(grantor.renew(Mono::from_millis(2), &renewal(1, 1)), old);
    }

    #[test]
    fn only_the_secret_of_an_epoch_releases_it_however_often() {
        let mut grantor = ready();
        assert_eq!(grantor.renew(Mono::ZERO, &renewal(1, 1)), Answer::Granted);
        assert_eq!(grantor.release(Epoch(1), &[1]), Release::First);
        assert_eq!(grantor.release(Epoch(1), &[1]), Release::Again);
        assert_eq!(grantor.release(Epoch(1), b"guess"), Release::Unfit);
        assert_eq!(grantor.release(Epoch(0), b"guess"), Release::Unfit);
        grantor.adopt(Epoch(2));
        assert_eq!(grantor.renew(Mono::ZERO, &renewal(2, 2)), Answer::Granted);
        assert_eq!(grantor.release(Epoch(1), &[1]), Release::Again);
        assert_eq!(grantor.release(Epoch(1), &[2]), Release::Unfit);
        assert!(!grantor.is_released(Epoch(2)));
    }

    #[test]
    fn an_epoch_that_nobody_can_have_reached_is_not_believed() {
        let mut grantor = ready();
        let unbelievable = Answer::Refused(RenewalRefusal::Unbelievable);
        let mut told = renewal(1, 1);
        told.adopted = Epoch(u64::MAX);
        assert_eq!(grantor.renew(Mono::ZERO, &told), unbelievable);
        let mut far = renewal(1, 1);
        far.epoch = Epoch(EPOCH_JUMP_MAX + 2);
        assert_eq!(grantor.renew(Mono::ZERO, &far), unbelievable);
        // A member that was away learns from its log how far the others are.
        grantor.know_epoch(Epoch(2), Mono::ZERO);
        assert_eq!(
            grantor.renew(Mono::ZERO, &far),
            Answer::AdoptFirst(far.epoch)
        );
    }

    #[test]
    fn a_late_renewal_of_a_released_epoch_is_dead() {
        let mut grantor = ready();
        assert_eq!(grantor.renew(Mono::ZERO, &renewal(1, 1)), Answer::Granted);
        assert_eq!(grantor.release(Epoch(1), &[1]), Release::First);
        assert_eq!(
            grantor.renew(Mono::from_millis(1), &renewal(1, 1)),
            Answer::Refused(RenewalRefusal::Dead)
        );
        assert!(grantor.is_released(Epoch(1)));
        assert!(!grantor.is_released(Epoch(2)));
    }

    #[test]
    fn an_epoch_belongs_to_one_process() {
        let mut grantor = ready();
        assert_eq!(grantor.renew(Mono::ZERO, &renewal(1, 1)), Answer::Granted);
        let later = Mono::from_millis(60_000);
        assert_eq!(
            grantor.renew(later, &renewal(1, 2)),
            Answer::Refused(RenewalRefusal::Dead)
        );
    }

    #[test]
    fn a_started_voter_waits_for_promises_it_has_forgotten() {
        let mut grantor = Grantor::started(Epoch(1), Mono::ZERO, timing().promise());
        grantor.set_caught_up(timing().promise());
        grantor.set_membership(1, Mono::ZERO, timing().promise());
        let wait = Answer::Refused(RenewalRefusal::StartWait);
        assert_eq!(grantor.renew(Mono::from_millis(1501), &renewal(1, 1)), wait);
        assert_eq!(
            grantor.renew(Mono::from_millis(1502), &renewal(1, 1)),
            Answer::Granted
        );
    }

    #[test]
    fn nothing_is_granted_before_the_log_is_known() {
        let mut grantor = Grantor::started(Epoch(1), Mono::ZERO, Duration::ZERO);
        grantor.set_membership(1, Mono::ZERO, timing().promise());
        let refused = Answer::Refused(RenewalRefusal::CatchingUp);
        assert_eq!(
            grantor.renew(Mono::from_millis(9000), &renewal(1, 1)),
            refused
        );
    }

    #[test]
    fn a_changed_membership_renews_only_whom_it_supports() {
        let mut grantor = ready();
        assert_eq!(grantor.renew(Mono::ZERO, &renewal(1, 1)), Answer::Granted);
        grantor.set_membership(2, Mono::from_millis(10), timing().promise());
        let old = Answer::Refused(RenewalRefusal::Membership);
        assert_eq!(grantor.renew(Mono::from_millis(11), &renewal(1, 1)), old);
        let mut same = renewal(1, 1);
        same.membership = 2;
        assert_eq!(grantor.renew(Mono::from_millis(12), &same), Answer::Granted);
        assert_eq!(grantor.release(Epoch(1), &[1]), Release::First);
        grantor.adopt(Epoch(2));
        let mut other = renewal(2, 2);
        other.membership = 2;
        let wait = Answer::Refused(RenewalRefusal::StartWait);
        assert_eq!(grantor.renew(Mono::from_millis(13), &other), wait);
        assert_eq!(
            grantor.renew(Mono::from_millis(1512), &other),
            Answer::Granted
        );
    }

    #[test]
    fn a_shortened_lease_does_not_shorten_the_promise() {
        let mut grantor = ready();
        let mut long = renewal(1, 1);
        long.timing = LeaseTiming::from_millis(10_000).expect("valid");
        assert_eq!(grantor.renew(Mono::ZERO, &long), Answer::Granted);
        assert_eq!(
            grantor.renew(Mono::from_millis(1), &renewal(1, 1)),
            Answer::Granted
        );
        grantor.adopt(Epoch(2));
        let promised = Answer::Refused(RenewalRefusal::Promised);
        assert_eq!(
            grantor.renew(Mono::from_millis(10_009), &renewal(2, 2)),
            promised
        );
    }

    #[test]
    fn silence_counts_from_the_receipt_or_from_knowing_the_epoch() {
        let mut grantor = ready();
        assert_eq!(grantor.silent_at(Epoch(1), timing()), None);
        grantor.know_epoch(Epoch(1), Mono::ZERO);
        assert_eq!(
            grantor.silent_at(Epoch(1), timing()),
            Some(Mono::from_nanos(2_626_500_000))
        );
        assert_eq!(
            grantor.renew(Mono::from_millis(10), &renewal(1, 1)),
            Answer::Granted
        );
        assert_eq!(
            grantor.silent_at(Epoch(1), timing()),
            Some(Mono::from_millis(1135))
        );
        assert_eq!(grantor.flush_lsn(Epoch(1)), Some(Lsn(10)));
        assert_eq!(grantor.flush_lsn(Epoch(2)), None);
    }
}
