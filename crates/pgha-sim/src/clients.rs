//! Clients: single writes through any gate that lets them in, and what PostgreSQL writes by itself.

use pgha_core::invariant::GateView;
use rand::Rng;

use crate::check::{Acknowledged, Failure};
use crate::event::{Event, Session};
use crate::mutant::Mutant;
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
        // Who waits sends nothing more.
        if self.synchronous.is_some() && self.chance(85) {
            return;
        }
        let n = &self.nodes[node];
        if !n.sidecar_runs() || !n.writable() {
            return;
        }
        let Some(sidecar) = &n.sidecar else { return };
        let now = n.now(self.now);
        let (gate, nonce) = (sidecar.gate, sidecar.me.nonce);
        let postgres = n.postgres.as_ref().map_or(0, |p| p.id);
        if !gate.may_enter(now) || !gate.may_pass(gate.epoch, now) {
            return;
        }
        self.write(node, RecordKind::Write);
        let Some(data) = &self.nodes[node].disk.data else {
            return;
        };
        let session = Session {
            node,
            nonce,
            postgres,
            epoch: gate.epoch,
            index: data.wal.len() - 1,
            chain: data.chain(),
        };
        let delay = self.rng.random_range(MS / 5..6 * MS);
        let event = Event::Acknowledge(session);
        self.queue.push(self.now + delay, event);
    }

    fn write(&mut self, node: usize, kind: RecordKind) {
        let origin = self.fresh_id();
        // Few sizes, so that forks have equal record boundaries often.
        let bytes = 64 * self.rng.random_range(1..=2);
        if let Some(data) = &mut self.nodes[node].disk.data {
            let timeline = data.timeline();
            data.insert(bytes, timeline, kind, origin);
        }
        self.written(node);
    }

    /// A commit's answer arrives at the gate.
    pub fn acknowledge(&mut self, session: Session) {
        let Session {
            node,
            epoch,
            index,
            chain,
            ..
        } = session;
        let unchecked = self.is(Mutant::GateUncheckedAfterResume);
        let n = &mut self.nodes[node];
        let resumed = unchecked && n.thawed > 0 && self.now < n.thawed + 5 * MS;
        if n.up && (n.frozen || n.sidecar_frozen) {
            return n.deferred.push(Event::Acknowledge(session));
        }
        if self.nonce(node) != Some(session.nonce) || !self.nodes[node].up {
            return;
        }
        let data = self.nodes[node].disk.data.as_mut();
        let end = data.and_then(|data| {
            let record = data.wal.get(index).filter(|r| r.chain == chain)?;
            let end = record.end;
            data.flush_to(end);
            Some(end)
        });
        if end.is_none_or(|end| !self.is_let_go(node, end)) {
            let ended = self.nodes[node].postgres.as_ref().map(|p| p.id) != Some(session.postgres);
            if !ended {
                let again = self.span(30, 200);
                self.queue
                    .push(self.now + again, Event::Acknowledge(session));
            }
            return self.count("commit waits for a standby");
        }
        let n = &self.nodes[node];
        let Some(sidecar) = &n.sidecar else { return };
        let record = n.disk.data.as_ref().and_then(|data| data.wal.get(index));
        let Some(record) = record.filter(|record| record.chain == chain) else {
            return;
        };
        if resumed || sidecar.gate.may_pass(epoch, n.now(self.now)) {
            let opened = self.opened.keys().last().copied().unwrap_or_default();
            if opened > epoch && self.profile.wild_clocks {
                return self.count("late acknowledgement by a wild clock");
            }
            if opened > epoch {
                let member = n.name.to_string();
                return self.fail(Failure::LateAcknowledgement {
                    member,
                    epoch,
                    opened,
                });
            }
            let write = Acknowledged {
                index,
                chain,
                end: record.end,
                timeline: record.timeline,
                epoch,
                node,
                at: self.now,
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
