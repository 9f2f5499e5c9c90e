//! The receiver of a standby: attaches as PostgreSQL would, and is judged by what is true.

use pgha_core::decide::{Upstream, slot_name};
use pgha_core::invariant;
use rand::Rng;

use crate::event::NodeEvent;
use crate::mutant::Mutant;
use crate::time::MS;
use crate::wal::{RecordKind, Unattached};
use crate::world::World;

impl World {
    /// One look of a receiver for more WAL.
    pub fn stream(&mut self, node: usize, id: u64) {
        let Some(postgres) = self.nodes[node].postgres.as_ref().filter(|p| p.id == id) else {
            return;
        };
        let Some(receiver) = postgres.receiver.clone() else {
            return;
        };
        let replays = postgres.recovering && !postgres.hung;
        let pause = self.rng.random_range(5 * MS..30 * MS);
        self.tree_in(node, pause, NodeEvent::Stream(id));
        let n = &self.nodes[node];
        let replays = replays && n.up && !n.frozen;
        if !n.postgres_runs() && !replays {
            return;
        }
        let from = receiver.from;
        let serving = self.linked(node, from) && self.nodes[from].postgres_runs();
        let upstream = self.nodes[from].postgres.as_ref().map(|p| p.id);
        if !serving || (receiver.attached.is_some() && receiver.attached != upstream) {
            return self.detach(node);
        }
        if receiver.attached.is_none() && !self.attach(node, from, &receiver.slot) {
            return;
        }
        let most = self.rng.random_range(1..60);
        self.copy_wal(node, from, most);
        let data = self.nodes[node].disk.data.as_ref();
        if replays && data.is_some_and(|data| data.end() >= data.consistent_at) {
            self.tree_in(node, MS, NodeEvent::PostgresReady(id));
        }
    }

    /// Attaches it to the primary, whatever either of them holds.
    pub(crate) fn follows_whoever(&mut self, node: usize) {
        if !self.is(Mutant::AttachedUncompared) {
            return;
        }
        let n = &self.nodes[node];
        let primary = n.disk.state.primary().filter(|p| p.node != n.name);
        if let Some(record) = primary {
            let upstream = Upstream {
                node: record.node.clone(),
                epoch: record.epoch,
                address: String::new(),
                slot: slot_name(record.timeline, &n.name),
            };
            self.follow(node, upstream);
        }
    }

    fn detach(&mut self, node: usize) {
        if let Some(postgres) = &mut self.nodes[node].postgres
            && let Some(receiver) = &mut postgres.receiver
            && receiver.attached.take().is_some()
        {
            self.probe_soon(node);
        }
    }

    fn attach(&mut self, node: usize, from: usize, slot: &str) -> bool {
        let (Some(own), Some(other)) = (&self.nodes[node].disk.data, &self.nodes[from].disk.data)
        else {
            return false;
        };
        let usable = other
            .slots
            .get(slot)
            .is_some_and(|kept| *kept >= other.kept_from);
        if own.system_identifier != other.system_identifier || !usable {
            return false;
        }
        // History files come first, whatever becomes of the rest.
        let (newest, attached) = (other.timeline(), own.attach(other));
        let at = own.end();
        let shared = if own.is_prefix_of(other) {
            at
        } else {
            own.common_with(other)
        };
        let id = self.nodes[from].postgres.as_ref().map(|p| p.id);
        if let Some(data) = &mut self.nodes[node].disk.data {
            data.newest_history = data.newest_history.max(newest);
        }
        if let Err(why) = attached {
            self.count(match why {
                Unattached::Timeline => "not attached: timeline",
                Unattached::Ahead => "not attached: ahead",
                Unattached::Boundary => "not attached: boundary",
                Unattached::Removed => "not attached: removed",
            });
            return false;
        }
        let [receiver, upstream] = [node, from].map(|node| self.nodes[node].name.clone());
        self.check(invariant::one_history(&receiver, &upstream, at, shared));
        self.count("receiver attached");
        if let Some(receiver) = self.nodes[node]
            .postgres
            .as_mut()
            .and_then(|p| p.receiver.as_mut())
        {
            receiver.attached = id;
        }
        self.probe_soon(node);
        true
    }

    pub(crate) fn copy_wal(&mut self, node: usize, from: usize, most: usize) {
        let Some(source) = self.nodes[from].disk.data.as_ref() else {
            return;
        };
        let Some(own) = self.nodes[node].disk.data.as_ref() else {
            return;
        };
        let start = own.wal.len().min(source.wal.len());
        let end = start.saturating_add(most).min(source.wal.len());
        let (records, newest) = (source.wal[start..end].to_vec(), source.timeline());
        let switched = records.iter().any(|r| r.kind == RecordKind::EndOfRecovery);
        let Some(own) = self.nodes[node].disk.data.as_mut() else {
            return;
        };
        own.wal.extend(records);
        own.flushed = own.end();
        own.newest_history = own.newest_history.max(newest);
        let at = own.end();
        let slot = self.nodes[node]
            .postgres
            .as_ref()
            .and_then(|p| p.receiver.as_ref())
            .map(|receiver| receiver.slot.clone());
        if let Some(source) = self.nodes[from].disk.data.as_mut() {
            source.flush_to(at.min(source.end()));
        }
        if let (Some(slot), Some(source)) = (slot, self.nodes[from].disk.data.as_mut())
            && let Some(kept) = source.slots.get_mut(&slot)
        {
            *kept = at;
        }
        if switched {
            self.probe_soon(node);
        }
    }
}
