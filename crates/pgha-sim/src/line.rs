//! The cluster's line as it truly is: who writes it, who leaves it, what acknowledged writes it lacks.

use pgha_core::invariant::{self, MissingWrite, Violation};
use pgha_core::journal::JournalEntry;
use pgha_core::{Epoch, StartKind};

use crate::wal::DataDirectory;
use crate::world::World;

impl World {
    /// An operator who accepts the loss may decide for another line.
    pub(crate) fn order_moves_line(&mut self, entry: &JournalEntry) {
        let Some(target) = entry.cause.accepts_loss_for() else {
            return;
        };
        let node = self
            .index_of(target)
            .filter(|_| entry.primary.as_ref() == Some(target));
        if let Some(data) = node.and_then(|node| self.nodes[node].disk.data.as_ref()) {
            self.ordered_lines.push(data.chains());
        }
    }

    /// The primary of the line has written.
    pub fn written(&mut self, node: usize) {
        let Some((owner, epoch)) = self.line_owner else {
            return;
        };
        let n = &self.nodes[node];
        let writes = n.postgres.as_ref().is_some_and(|p| p.epoch == Some(epoch));
        if owner == node
            && writes
            && let Some(data) = &n.disk.data
        {
            let known = self.line.len().min(data.wal.len());
            self.line.extend(data.wal[known..].iter().map(|r| r.chain));
        }
    }

    /// A gate opens: its PostgreSQL is on the line, and what it lacks of it is known.
    pub fn gate_opened(&mut self, node: usize, epoch: Epoch) {
        if self.opened.contains_key(&epoch) {
            return;
        }
        let data = self.nodes[node].disk.data.as_ref();
        let history = data.map(DataDirectory::chains).unwrap_or_default();
        self.opened.insert(epoch, history);
        self.count("opened");
        if let Some(data) = &self.nodes[node].disk.data {
            self.served.push((node, data.timeline()));
        }
        self.check_line(node, epoch);
        self.check_lost(node, epoch);
    }

    /// An opening is committed: its primary's history is the cluster's line. What it has may be gone
    /// by then, or be a copy of somebody else's: what it opened with is the line then.
    pub fn line_moves(&mut self) {
        let Some(record) = self.truth.primary() else {
            return;
        };
        let (Some(node), epoch) = (self.index_of(&record.node), record.epoch) else {
            return;
        };
        self.line_owner = Some((node, epoch));
        self.ordered_lines.clear();
        let Some(opening) = self.opened.get(&epoch) else {
            return;
        };
        let data = self.nodes[node].disk.data.as_ref();
        let now = data.map(DataDirectory::chains).unwrap_or_default();
        self.line = if now.starts_with(opening) {
            now
        } else {
            opening.clone()
        };
    }

    fn check_line(&mut self, node: usize, epoch: Epoch) {
        let n = &self.nodes[node];
        let (Some(record), Some(data)) = (n.disk.state.primary(), &n.disk.data) else {
            return;
        };
        // Timelines that were assigned after the one that opened last may have been grown upon.
        let head = self.truth.lineage.head;
        let promoted = record.kind == StartKind::Promotion;
        let inherited = data
            .wal
            .iter()
            .position(|r| promoted && r.timeline > head)
            .unwrap_or(data.wal.len());
        let is_on = |line: &[u64]| {
            let common = inherited.min(line.len());
            common == 0 || line[common - 1] == data.wal[common - 1].chain
        };
        let ordered = self.ordered_lines.iter().any(|line| is_on(line));
        if !is_on(&self.line) && !ordered {
            let why = format!(
                "its data is not on the cluster's line ({inherited} records, the line has {})",
                self.line.len()
            );
            let node = n.name.clone();
            self.check(Err(Violation::Promoted { epoch, node, why }));
        }
    }

    fn check_lost(&mut self, node: usize, epoch: Epoch) {
        let Some(data) = &self.nodes[node].disk.data else {
            return;
        };
        let (mut missing, mut times) = (Vec::new(), Vec::new());
        for write in &mut self.acknowledged {
            let there = data
                .wal
                .get(write.index)
                .is_some_and(|r| r.chain == write.chain);
            if there {
                // A primary that never got known as opened may have done without it, and its
                // successor goes on from where it was.
                write.lost_in = None;
            } else if write.lost_in.is_none() {
                write.lost_in = Some(epoch);
                let gone = MissingWrite {
                    end: write.end,
                    written: write.epoch,
                    timeline: write.timeline,
                    epoch,
                };
                times.push((gone, write.at));
                missing.push(gone);
            }
        }
        // Not even where an operator accepts a loss: whomever he names had it.
        if self.waits_for_all() && !missing.is_empty() {
            let lost = missing.len();
            return self.check(Err(Violation::SynchronousLoss { epoch, lost }));
        }
        if !missing.is_empty() {
            self.count("opening with loss");
            *self.counts.entry("lost write".to_owned()).or_default() += missing.len() as u64;
        }
        self.check_bound(&times);
        let entry = self.truth.journal.iter().rev();
        let entry = entry.clone().find(|entry| entry.epoch == epoch);
        if let Some(entry) = entry.cloned() {
            let checked = invariant::kept_in_place(&entry, &missing);
            self.check(checked);
            self.check_sync_rule(&entry, missing.len());
        }
    }

    /// P3, at the end: every lost write is in a range that the journal gives.
    pub(crate) fn check_losses(&mut self) {
        let lost: Vec<_> = self
            .acknowledged
            .iter()
            .filter_map(|write| {
                let missing = MissingWrite {
                    end: write.end,
                    written: write.epoch,
                    timeline: write.timeline,
                    epoch: write.lost_in?,
                };
                let node = &self.nodes[write.node];
                let destroyed = node.destroyed_at.is_some_and(|at| write.at <= at);
                Some(match (destroyed, node.end_held) {
                    (false, _) => (missing, "loss judged", true),
                    (true, true) => (missing, "loss of watched data judged", true),
                    (true, false) => (missing, "loss of destroyed data judged", false),
                })
            })
            .collect();
        for (missing, what, final_only) in lost {
            self.count(what);
            let checked = invariant::loss_reported(&missing, &self.truth.journal, final_only);
            self.check(checked);
        }
    }
}
