//! Changes of primary: revoked, named, opened, handed over, and what was lost with them.

use super::refusal::{Applied, Refusal};
use super::{ClusterState, Handover, LastPrimary, Phase, PrimaryRecord, Revoked};
use crate::command::{Opened, Primary, Revoke};
use crate::journal::{Cause, JOURNAL_ENTRIES_MAX, JournalEntry};
use crate::lineage::{Fork, Lineage};
use crate::{Epoch, MemberName, StartKind};

impl ClusterState {
    pub(super) fn revoke(&mut self, index: u64, revoke: &Revoke) -> Applied {
        self.expect_epoch(revoke.expected)?;
        let previous = match &self.phase {
            Phase::Primary(record) => Some(record.clone()),
            // Nothing to end: a second Revoke would only throw reports away.
            Phase::Empty | Phase::Bootstrap { .. } => return Err(self.out_of_phase("a revoke")),
            Phase::Revoked(revoked) => {
                if !matches!(revoke.cause, Cause::OperatorFailover { .. }) {
                    return Err(self.out_of_phase("a revoke"));
                }
                revoked.previous.clone()
            }
        };
        let target = match &revoke.cause {
            Cause::OperatorFailover { target, .. } => {
                self.expect_data_member(target)?;
                Some(target.clone())
            }
            Cause::Formation
            | Cause::Released { .. }
            | Cause::Expired { .. }
            | Cause::HolderRestarted
            | Cause::Switchover
            | Cause::QuorumRecovered { .. }
            | Cause::PromotionFailed { .. } => self
                .handover
                .as_ref()
                .and_then(|handover| handover.target.clone()),
        };
        self.epoch = revoke.expected.next();
        self.handover = None;
        self.journal_push(JournalEntry {
            leader: Some(revoke.leader.clone()),
            previous_primary: previous.as_ref().map(|record| record.node.clone()),
            steps: revoke.steps.clone(),
            ..JournalEntry::begun(self.epoch, revoke.cause.clone(), revoke.at.clone())
        });
        self.phase = Phase::Revoked(Revoked {
            index,
            cause: revoke.cause.clone(),
            previous,
            target,
            told: None,
        });
        Ok(())
    }

    pub(super) fn name_primary(&mut self, index: u64, primary: &Primary) -> Applied {
        self.expect_epoch(primary.epoch)?;
        self.expect_data_member(&primary.node)?;
        match (&self.phase, primary.kind) {
            (Phase::Bootstrap { node }, StartKind::Initial) if *node == primary.node => {}
            (Phase::Revoked(_), StartKind::Promotion) => {}
            (Phase::Revoked(revoked), StartKind::Restart | StartKind::Reinstatement)
                if revoked
                    .previous
                    .as_ref()
                    .is_some_and(|p| p.node == primary.node) => {}
            _ => return Err(self.out_of_phase("this primary")),
        }
        self.assign_timeline(primary)?;
        if let (StartKind::Initial, Some(identifier)) = (primary.kind, primary.system_identifier) {
            self.system_identifier = Some(identifier);
            self.journal_push(JournalEntry::begun(
                primary.epoch,
                Cause::Formation,
                primary.at.clone(),
            ));
        }
        if let Some(entry) = self.journal_entry(primary.epoch) {
            entry.primary = Some(primary.node.clone());
            entry.timeline = Some(primary.timeline);
            entry.kind = Some(primary.kind);
            entry.evidence.clone_from(&primary.evidence);
            entry.lost = primary.lost;
            entry.steps.clone_from(&primary.steps);
        }
        self.phase = Phase::Primary(PrimaryRecord {
            epoch: primary.epoch,
            node: primary.node.clone(),
            nonce: primary.nonce,
            kind: primary.kind,
            timeline: primary.timeline,
            parent: primary.parent,
            lsn: primary.lsn,
            known_end: primary.known_end,
            opened: false,
            index,
        });
        Ok(())
    }

    /// A number is consumed when it is assigned, whether the promotion comes to anything or not (P6).
    fn assign_timeline(&mut self, primary: &Primary) -> Applied {
        match (primary.kind, &primary.fork_id) {
            (StartKind::Initial, _) => self.lineage = Lineage::new(primary.timeline),
            (StartKind::Promotion, Some(fork_id)) => {
                if primary.timeline <= self.lineage.highest || primary.parent >= primary.timeline {
                    return Err(Refusal::Timeline {
                        timeline: primary.timeline,
                        highest: self.lineage.highest,
                    });
                }
                self.lineage.highest = primary.timeline;
                let fork = Fork {
                    epoch: primary.epoch,
                    parent: primary.parent,
                    fork_lsn: primary.lsn,
                    fork_id: fork_id.clone(),
                    fork_row_lsn: None,
                };
                self.lineage.forks.insert(primary.timeline, fork);
            }
            (StartKind::Promotion, None) => {
                return Err(self.out_of_phase("a promotion without a fork id"));
            }
            (StartKind::Restart | StartKind::Reinstatement, _) => {}
        }
        Ok(())
    }

    pub(super) fn opened(&mut self, opened: &Opened) -> Applied {
        self.expect_epoch(opened.epoch)?;
        let Phase::Primary(record) = &mut self.phase else {
            return Err(self.out_of_phase("an opening"));
        };
        if record.opened || record.timeline != opened.timeline {
            return Err(self.out_of_phase("this opening"));
        }
        record.opened = true;
        let node = record.node.clone();
        self.last_primary = Some(LastPrimary {
            node,
            epoch: opened.epoch,
        });
        self.lineage.head = opened.timeline;
        if let Some(fork) = self.lineage.forks.get_mut(&opened.timeline)
            && fork.epoch == opened.epoch
        {
            fork.fork_lsn = opened.fork_lsn.unwrap_or(fork.fork_lsn);
            fork.fork_row_lsn = opened.fork_row_lsn;
        }
        if let Some(entry) = self.journal_entry(opened.epoch) {
            entry.opened = true;
            entry.fork_lsn = opened.fork_lsn;
            entry.steps.clone_from(&opened.steps);
        }
        Ok(())
    }

    pub(super) fn begin_handover(
        &mut self,
        index: u64,
        epoch: Epoch,
        target: Option<&MemberName>,
        deadline_ms: u64,
    ) -> Applied {
        self.expect_epoch(epoch)?;
        if let Some(target) = target {
            self.expect_data_member(target)?;
        }
        if self.handover.is_some() || !self.primary().is_some_and(|record| record.opened) {
            return Err(self.out_of_phase("a handover"));
        }
        self.handover = Some(Handover {
            epoch,
            target: target.cloned(),
            deadline_ms,
            index,
        });
        Ok(())
    }

    pub(super) fn end_handover(&mut self, epoch: Epoch) -> Applied {
        self.expect_epoch(epoch)?;
        match self.handover.take() {
            Some(_) => Ok(()),
            None => Err(self.out_of_phase("the end of a handover")),
        }
    }

    pub(super) fn journal_push(&mut self, entry: JournalEntry) {
        self.journal.push(entry);
        while self.journal.len() > JOURNAL_ENTRIES_MAX {
            // Who fails to start all night would push out why it came to that, and what was lost.
            let repeated = |pair: &[JournalEntry]| pair[0].is_repeated_by(&pair[1]);
            let least = self.journal.windows(2).position(repeated);
            self.journal.remove(least.unwrap_or(0));
        }
    }

    pub(super) fn journal_entry(&mut self, epoch: Epoch) -> Option<&mut JournalEntry> {
        self.journal
            .iter_mut()
            .rev()
            .find(|entry| entry.epoch == epoch)
    }
}
