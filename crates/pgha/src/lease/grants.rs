//! The grantor of this member, shared by the lease service, the holder's own vote and the agent.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pgha_core::decide::LocalGrant;
use pgha_core::lease::{Answer, Grantor, LeaseTiming, Release, Renewal, RenewalRefusal};
use pgha_core::report::ReleaseNote;
use pgha_core::{Epoch, Mono};
use pgha_guard::clock;
use pgha_raft::{Store, StoreError};
use tokio::sync::watch;

use super::electorate::{ElectorateWatch, MembershipId};
use crate::wake::Wake;

/// What this member has promised, and to whom.
pub(crate) struct Grants {
    grantor: Mutex<Grantor<MembershipId>>,
    electorate: ElectorateWatch,
    release: Mutex<Option<(Epoch, ReleaseNote)>>,
    store: Store,
    wake: Wake,
    adopted: watch::Sender<Epoch>,
}

impl Grants {
    /// A grantor of a process that started at `started` and forgot what the one before promised, but not
    /// what it was told.
    pub(crate) fn new(
        store: Store,
        electorate: ElectorateWatch,
        started: Mono,
        wake: Wake,
    ) -> Self {
        let adopted = store.adopted_epoch();
        let told = store.told();
        let (membership, wait) = (electorate.membership(), electorate.start_wait());
        let grantor = Grantor::started(adopted, told, membership, started, wait);
        Self {
            grantor: Mutex::new(grantor),
            electorate,
            release: Mutex::default(),
            store,
            wake,
            adopted: watch::Sender::new(adopted),
        }
    }

    /// The highest epoch on disk here.
    pub(crate) fn adopted(&self) -> Epoch {
        self.lock().adopted()
    }

    /// The highest epoch that this member has adopted or read in the log.
    pub(crate) fn known(&self) -> Epoch {
        self.lock().known()
    }

    /// Follows [`Self::adopted`]: a holder that sees a higher one closes its gate.
    pub(crate) fn watch_adopted(&self) -> watch::Receiver<Epoch> {
        self.adopted.subscribe()
    }

    /// Adopts an epoch: on disk first, then everywhere.
    pub(crate) async fn adopt(&self, epoch: Epoch) -> Result<(), StoreError> {
        // A holder of an older epoch stops before the disk is asked: it may be slow.
        self.adopted.send_if_modified(|adopted| {
            let higher = epoch > *adopted;
            *adopted = (*adopted).max(epoch);
            higher
        });
        self.store.adopt_epoch(epoch).await?;
        self.lock().adopt(epoch);
        self.wake.wake();
        Ok(())
    }

    /// Answers a renewal: `Ok` grants it.
    pub(crate) async fn renew(
        &self,
        renewal: &Renewal<MembershipId>,
    ) -> Result<Result<(), RenewalRefusal>, StoreError> {
        loop {
            match self.answer(renewal) {
                Answer::Granted => return Ok(Ok(())),
                Answer::Refused(refusal) => return Ok(Err(refusal)),
                Answer::AdoptFirst(epoch) => self.adopt(epoch).await?,
            }
        }
    }

    fn answer(&self, renewal: &Renewal<MembershipId>) -> Answer {
        let mut grantor = self.lock();
        let answer = grantor.renew(clock::now(), renewal);
        if let Some((epoch, flush_lsn)) = grantor.told() {
            self.store.keep_told(epoch, flush_lsn);
        }
        answer
    }

    /// A release of `epoch` with its secret.
    pub(crate) fn release(&self, epoch: Epoch, secret: &[u8], note: ReleaseNote) -> Release {
        let release = self.lock().release(epoch, secret);
        if release == Release::First {
            let mut kept = self.release.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.as_ref().is_none_or(|(known, _)| *known < epoch) {
                *kept = Some((epoch, note));
            }
            drop(kept);
            self.wake.wake();
        }
        release
    }

    /// The log has reached what a current leader committed; what it says that a start waits.
    pub(crate) fn set_caught_up(&self, wait: Duration) {
        self.lock().set_caught_up(wait);
    }

    /// The log named a primary of `epoch`.
    pub(crate) fn know_epoch(&self, epoch: Epoch) {
        self.lock().know_epoch(epoch, clock::now());
    }

    /// What this member knows about the holder of `epoch`.
    pub(crate) fn view(&self, epoch: Epoch, timing: LeaseTiming) -> LocalGrant {
        let grantor = self.lock();
        let release = self.release.lock().unwrap_or_else(PoisonError::into_inner);
        let released = release
            .as_ref()
            .filter(|(of, _)| *of == epoch)
            .map(|(_, n)| n.clone());
        LocalGrant {
            epoch,
            silent_at: grantor.silent_at(epoch, timing),
            released,
            flush_lsn: grantor.flush_lsn(epoch),
            remembers: grantor.remembers(epoch),
            promised: grantor.promised(epoch),
        }
    }

    /// The grantor, who knows the membership that this member has acknowledged by now. One that was
    /// there and taken back while nobody looked was granted to nobody.
    fn lock(&self) -> MutexGuard<'_, Grantor<MembershipId>> {
        let mut grantor = self.grantor.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(membership) = self.electorate.membership() {
            let wait = self.electorate.start_wait();
            grantor.set_membership(membership, clock::now(), wait);
        }
        if let Some(epoch) = self.electorate.settled_epoch() {
            grantor.set_settled(epoch);
        }
        grantor
    }
}
