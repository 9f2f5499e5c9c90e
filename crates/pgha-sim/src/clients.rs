//! Clients: single writes through any gate that lets them in, and what PostgreSQL writes by itself.

use pgha_core::invariant::GateView;
use pgha_core::{Epoch, Nonce};
use rand::Rng;

use crate::check::Acknowledged;
use crate::event::Event;
use crate::time::MS;
use crate::wal::RecordKind;
use crate::world::World;

impl World {
    /// Everybody's clients try once.
    pub fn clients(&mut self) {
        let pause = self.rng.random_range(10 * MS..60 * MS);
        self.queue.push(self.now + pause, Event::Clients);
        for node in 0..self.nodes.len() {
            if self.nodes[node].writable() && self.chance(10) {
                self.write(node, RecordKind::Background);
            }
            self.client_writes(node);
        }
    }

    fn client_writes(&mut self, node: usize) {
        let n = &self.nodes[node];
        if !n.sidecar_runs() || !n.writable() {
            return;
        }
        let Some(sidecar) = &n.sidecar else { return };
        let now = n.now(self.now);
        let (gate, nonce) = (sidecar.gate, sidecar.me.nonce);
        if !gate.may_enter(now) || !gate.may_pass(gate.epoch, now) {
            return;
        }
        self.write(node, RecordKind::Write);
        let Some(data) = &self.nodes[node].disk.data else {
            return;
        };
        let event = Event::Acknowledge {
            node,
            nonce,
            epoch: gate.epoch,
            index: data.wal.len() - 1,
            chain: data.chain(),
        };
        let delay = self.rng.random_range(MS / 5..6 * MS);
        self.queue.push(self.now + delay, event);
    }

    fn write(&mut self, node: usize, kind: RecordKind) {
        let origin = self.fresh_id();
        // Few sizes, so that forks have equal record boundaries often.
        let bytes = 64 * self.rng.random_range(1..=2);
        if let Some(data) = &mut self.nodes[node].disk.data {
            let timeline = data.timeline();
            data.append(bytes, timeline, kind, origin);
        }
        self.written(node);
    }

    /// A commit's answer arrives at the gate.
    pub fn acknowledge(
        &mut self,
        node: usize,
        nonce: Nonce,
        epoch: Epoch,
        index: usize,
        chain: u64,
    ) {
        let n = &mut self.nodes[node];
        if n.up && (n.frozen || n.sidecar_frozen) {
            return n.deferred.push(Event::Acknowledge {
                node,
                nonce,
                epoch,
                index,
                chain,
            });
        }
        if self.nonce(node) != Some(nonce) || !self.nodes[node].up {
            return;
        }
        let n = &self.nodes[node];
        let Some(sidecar) = &n.sidecar else { return };
        let record = n.disk.data.as_ref().and_then(|data| data.wal.get(index));
        let Some(record) = record.filter(|record| record.chain == chain) else {
            return;
        };
        if sidecar.gate.may_pass(epoch, n.now(self.now)) {
            let write = Acknowledged {
                index,
                chain,
                end: record.end,
                timeline: record.timeline,
                epoch,
                node,
                lost_in: None,
            };
            self.acknowledged.push(write);
            self.count("acknowledged write");
        }
    }

    /// Every gate with its own clock.
    pub fn gates(&self) -> impl Iterator<Item = GateView<'_>> {
        self.nodes.iter().filter_map(|node| {
            let sidecar = node.sidecar.as_ref()?;
            Some(GateView {
                member: &node.name,
                setting: sidecar.gate,
                now: node.now(self.now),
            })
        })
    }
}
