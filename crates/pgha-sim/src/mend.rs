//! How faults end.

use pgha_core::decide::StopMode;
use rand::Rng;

use crate::event::{Event, Layer, NodeEvent};
use crate::fault::Mend;
use crate::time::{Clock, MS, SECOND};
use crate::world::World;

impl World {
    /// Ends one fault.
    pub fn mend(&mut self, mend: Mend) {
        match mend {
            Mend::Link(from, to) => self.cut[from][to] = false,
            Mend::Sidecar(node) => {
                self.nodes[node].sidecar_frozen = false;
                self.thaw(node);
                if !self.nodes[node].guard.alive && self.nodes[node].postgres.is_some() {
                    self.signal(node, StopMode::Kill, "its guard died");
                }
            }
            Mend::Node(node) => {
                self.nodes[node].frozen = false;
                self.thaw(node);
                let n = &self.nodes[node];
                let orphan =
                    n.sidecar.is_none() && n.postgres.as_ref().is_some_and(|p| p.epoch.is_some());
                if orphan && n.guard.alive {
                    self.signal(node, StopMode::Kill, "its sidecar died");
                }
            }
            Mend::Postgres(node, id) => self.unhang(node, id),
            Mend::Apply(node) => self.nodes[node].apply_slow = false,
            Mend::Disk(node) => self.nodes[node].disk_stalls = false,
            Mend::Guard(node, id) => self.guard_thaws(node, id),
            Mend::Boot(node) => self.boot(node),
        }
    }

    /// It does at once what came due meanwhile.
    fn guard_thaws(&mut self, node: usize, id: u64) {
        let n = &mut self.nodes[node];
        let same = n.postgres.as_ref().is_some_and(|p| p.id == id);
        if !same || !std::mem::take(&mut n.guard.frozen) {
            return;
        }
        n.thawed = self.now;
        let primary = n.postgres.as_ref().is_some_and(|p| p.epoch.is_some());
        let orphan = n.sidecar.is_none() && primary;
        let headless = n.postgres.as_ref().is_some_and(|p| p.headless);
        let woken = n.guard.woken.take();
        if headless {
            self.signal(node, StopMode::Kill, "its postmaster died");
        } else if orphan && n.guard.alive {
            self.signal(node, StopMode::Kill, "its sidecar died");
        } else if let Some(id) = woken {
            self.guard_wakes(node, id);
        }
    }

    pub(crate) fn unhang(&mut self, node: usize, id: u64) {
        let Some(postgres) = self.nodes[node].postgres.as_mut().filter(|p| p.id == id) else {
            return;
        };
        postgres.hung = false;
        // What was ordered meanwhile takes effect now.
        if let Some(mode) = postgres.stopping {
            self.signal(node, mode, "it answers again");
        }
    }

    /// What had to wait happens now: in order for the sidecar, who is first is luck.
    fn thaw(&mut self, node: usize) {
        self.nodes[node].thawed = self.now;
        let waiting = std::mem::take(&mut self.nodes[node].deferred);
        let mut delay = 0;
        for event in waiting {
            let tree = matches!(
                event,
                Event::Node {
                    layer: Layer::Tree,
                    ..
                }
            );
            let after = if tree {
                self.rng.random_range(0..20 * MS)
            } else {
                delay += self.rng.random_range(0..MS / 10);
                delay
            };
            self.queue.push(self.now + after, event);
        }
    }

    fn boot(&mut self, node: usize) {
        if self.nodes[node].up {
            return;
        }
        if self.is_kept_off(node) {
            return self.mend_in(200, 400, Mend::Boot(node));
        }
        let reading = self.rng.random_range(0..10 * SECOND);
        let rate = self.profile.clock_rate_times() * self.rng.random_range(-1000..=1000);
        let n = &mut self.nodes[node];
        n.up = true;
        n.clock = Clock::new(self.now, reading, rate);
        let after = self.span(10, 300);
        self.sidecar_in(node, after, NodeEvent::SidecarStarts);
    }

    /// Mends everything; from now on nothing breaks.
    pub fn heal(&mut self) {
        self.healed = Some(self.now);
        self.dies_in_decision = None;
        self.trace(None, || "everything is mended".to_owned());
        for node in 0..self.nodes.len() {
            for other in 0..self.nodes.len() {
                self.cut[node][other] = false;
            }
            if self.nodes[node].frozen {
                self.mend(Mend::Node(node));
            }
            if self.nodes[node].sidecar_frozen {
                self.mend(Mend::Sidecar(node));
            }
            if let Some(id) = self.nodes[node].postgres.as_ref().map(|p| p.id) {
                self.unhang(node, id);
                self.guard_thaws(node, id);
            }
            self.nodes[node].apply_slow = false;
            self.nodes[node].disk_stalls = false;
            self.nodes[node].lost = false;
            self.boot(node);
            if self.nodes[node].sidecar.is_none() {
                self.sidecar_in(node, 100 * MS, NodeEvent::SidecarStarts);
            }
        }
    }
}
