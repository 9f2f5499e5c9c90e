//! The grantor's side: whom this voter supports, and until when.

mod rebased;
mod release;
mod renewal;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use release::{Release, ReleaseHash, release_hash};
pub use renewal::{Answer, EPOCH_JUMP_MAX, Renewal, RenewalRefusal, is_believable};

use crate::lease::LeaseTiming;
use crate::{Epoch, Lsn, Mono, Nonce};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Promise {
    epoch: Epoch,
    nonce: Nonce,
    until: Mono,
    received: Mono,
    release_hash: ReleaseHash,
}

/// One voter's promises. `M` names an effective membership (its log id).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grantor<M> {
    adopted: Epoch,
    promise: Option<Promise>,
    /// The highest epoch that was released here, and what its secret hashes to: a late renewal of it
    /// must find it dead.
    released: Option<(Epoch, ReleaseHash)>,
    started: Mono,
    quiet_until: Mono,
    /// The start, or the last change of the membership.
    quiet_from: Mono,
    caught_up: bool,
    membership: Option<M>,
    /// All that comes before the effective membership has been read, epochs among it, since that is
    /// effective here.
    settled: bool,
    /// How far the holder of the newest epoch that was heard of came, as it said itself.
    told: Option<(Epoch, Lsn)>,
    /// What holders of epochs up to this one told may have been forgotten, unless [`Self::told`] is about
    /// them: they were adopted before the start, or named before the last change of the membership.
    forgot: Epoch,
    /// Since when silence of the newest epoch counts, while nothing was received of it.
    epoch_known: Option<(Epoch, Mono)>,
}

impl<M: PartialEq + Clone> Grantor<M> {
    /// A grantor that has just started: it has forgotten its promises, so it makes none until the
    /// longest of them is over. How long that may be is known for certain only once it has caught up.
    /// `told` is what it had been told, as far as that reached the disk; `membership` is the one on disk.
    pub fn started(
        adopted: Epoch,
        told: Option<(Epoch, Lsn)>,
        membership: Option<M>,
        now: Mono,
        wait: Duration,
    ) -> Self {
        Self {
            adopted,
            promise: None,
            released: None,
            started: now,
            quiet_until: now + wait,
            quiet_from: now,
            caught_up: false,
            membership,
            settled: false,
            told,
            forgot: adopted,
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
    /// `wait` only the holder that is supported already is renewed. The first one is no exception: a
    /// process may have run for long before it was taken in, and then knows of no promise that others
    /// still keep.
    pub fn set_membership(&mut self, membership: M, now: Mono, wait: Duration) {
        if self.membership.as_ref() == Some(&membership) {
            return;
        }
        self.quiet_until = self.quiet_until.max(now + wait);
        self.quiet_from = now;
        self.forgot = self.known();
        self.settled = false;
        self.membership = Some(membership);
    }

    /// What is applied includes the effective membership, and its newest epoch is this one. A holder of an
    /// epoch that the log names before the membership may have been granted without this voter, who
    /// stored that epoch before it knew of it.
    pub fn set_settled(&mut self, epoch: Epoch) {
        if !self.settled {
            self.settled = true;
            self.forgot = self.forgot.max(epoch);
        }
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
        self.hear(renewal);
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
        let same = self.promise.as_ref().filter(|p| p.nonce == renewal.nonce);
        match &self.promise {
            Some(promise) if promise.epoch == renewal.epoch && same.is_none() => {
                return Some(RenewalRefusal::Dead);
            }
            // The same process has one lease: where it renews a later epoch it gave the earlier one
            // up, and the gate of both is the same (a reinstatement).
            Some(promise) if now < promise.until && same.is_none() => {
                return Some(RenewalRefusal::Promised);
            }
            Some(_) | None => {}
        }
        // Whoever was supported before the wait began is supported on, if it holds its lease: then nobody
        // else can hold one that is not known here. The next epoch of the same process is none that it
        // holds, and it may never have held the one before.
        let supported = same.is_some_and(|it| it.epoch == renewal.epoch && renewal.held);
        (!supported && now < self.quiet_for(renewal)).then_some(RenewalRefusal::StartWait)
    }

    /// Until when nobody new is granted. The settings that this member has applied may be old: those of
    /// its start, or what a raft leader told that was cut off with it and did not know yet. The holder
    /// of a later epoch has applied what made it one, and with that every setting under which an
    /// earlier holder was granted.
    fn quiet_for(&self, renewal: &Renewal<M>) -> Mono {
        self.quiet_until.max(self.quiet_from + renewal.start_wait)
    }

    /// Who is refused tells as much as who is granted: a started voter need not wait to know it again.
    fn hear(&mut self, renewal: &Renewal<M>) {
        let heard = (renewal.epoch, renewal.flush_lsn);
        self.told = self.told.max(Some(heard));
    }

    fn promise(&mut self, now: Mono, renewal: &Renewal<M>) {
        let mut until = now + renewal.timing.promise();
        if let Some(promise) = &self.promise {
            // A shortened lease does not shorten what was promised before.
            until = until.max(promise.until);
        }
        self.promise = Some(Promise {
            epoch: renewal.epoch,
            nonce: renewal.nonce,
            until,
            received: now,
            release_hash: renewal.release_hash,
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

    /// What is to be on disk before this process ends, as soon as may be: how far the holder of the newest
    /// epoch that was heard of came. Nobody waits for it.
    pub const fn told(&self) -> Option<(Epoch, Lsn)> {
        self.told
    }

    /// The highest flush position that the holder of `epoch` told.
    pub fn flush_lsn(&self, epoch: Epoch) -> Option<Lsn> {
        let (of, flush_lsn) = self.told?;
        (of == epoch).then_some(flush_lsn)
    }

    /// Whether [`Self::flush_lsn`] is all that this voter was ever told of `epoch` and that it will grant:
    /// where it is nothing, it never granted it. While it may still renew that epoch, more may come. Of
    /// what an earlier process was told, the last that it had not written yet is missing.
    pub fn remembers(&self, epoch: Epoch) -> bool {
        let never_granted = self.settled && epoch > self.forgot;
        (never_granted || self.flush_lsn(epoch).is_some()) && self.adopted > epoch
    }

    /// Whether the newest promise is for `epoch`.
    pub fn promised(&self, epoch: Epoch) -> bool {
        self.promise.as_ref().is_some_and(|p| p.epoch == epoch)
    }
}
