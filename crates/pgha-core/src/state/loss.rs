//! What the journal knows of the tails that an epoch does without (P3).

use super::ClusterState;
use super::refusal::{Applied, Refusal};
use crate::journal::LostRange;
use crate::{Epoch, MemberName};

impl ClusterState {
    /// Whether `by`, who has that tail, may give it up: all of it is journaled. Where `by` is the
    /// primary that served last, also that this is all: what others tell never is.
    pub fn has_journaled(&self, epoch: Epoch, range: &LostRange, by: &MemberName) -> bool {
        let Some(entry) = self.journal.iter().find(|entry| entry.epoch == epoch) else {
            return true;
        };
        match entry.lost {
            Some(known) => known.holds(range) && (known.is_final || !self.served(epoch, by)),
            None => range.bytes() == 0,
        }
    }

    /// Whether `who` alone may have served since the last primary that is known to have opened before
    /// that epoch: nobody else has a tail then that only it could tell.
    fn served(&self, before: Epoch, who: &MemberName) -> bool {
        for entry in self.journal.iter().rev().filter(|e| e.epoch < before) {
            if entry.primary.as_ref().is_some_and(|named| named != who) {
                return false;
            }
            if entry.opened {
                return true;
            }
        }
        false
    }

    pub(super) fn lost(&mut self, epoch: Epoch, range: LostRange, by: &MemberName) -> Applied {
        let told = LostRange {
            is_final: self.served(epoch, by),
            ..range
        };
        let entry = self
            .journal_entry(epoch)
            .ok_or(Refusal::NoSuchEpoch(epoch))?;
        entry.lost = match entry.lost {
            Some(known) => Some(known.with(told)),
            None => (told.bytes() > 0).then_some(told),
        };
        Ok(())
    }
}
