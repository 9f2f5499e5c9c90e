//! The guard: empties the tree at the deadline that it was told, by its own clock, and proves it.

use pgha_core::Epoch;
use pgha_core::decide::StopMode;

use crate::event::NodeEvent;
use crate::mutant::Mutant;
use crate::time::{MS, Nanos};
use crate::world::World;

impl World {
    /// The guard learns the end of the lease of the epoch that it holds the tree for.
    pub fn guard_deadline(&mut self, node: usize, epoch: Epoch, kill: pgha_core::Mono) {
        let n = &mut self.nodes[node];
        let Some(postgres) = n.postgres.as_ref().filter(|p| p.epoch == Some(epoch)) else {
            return;
        };
        let id = postgres.id;
        let first = n.guard.kill_at.is_none();
        n.guard.kill_at = Some(kill);
        if first {
            let after = n.clock.when(kill).saturating_sub(self.now);
            self.tree_in(node, after, NodeEvent::GuardWakes(id));
        }
    }

    /// The guard looks at its own clock.
    pub fn guard_wakes(&mut self, node: usize, id: u64) {
        let sleeps = self.is(Mutant::GuardSleeps);
        let now = self.nodes[node].now(self.now);
        let n = &mut self.nodes[node];
        let runs = n.postgres.as_ref().is_some_and(|p| p.id == id);
        let Some(kill_at) = n.guard.kill_at.filter(|_| runs && n.guard.alive) else {
            return;
        };
        if n.guard.frozen {
            n.guard.woken = Some(id);
            return;
        }
        if now >= kill_at && sleeps {
            n.guard.kill_at = None;
            return;
        }
        if now >= kill_at {
            n.guard.kill_at = None;
            self.count("guard kills at its deadline");
            return self.signal(node, StopMode::Kill, "the lease ended");
        }
        let after = n.clock.when(kill_at).saturating_sub(self.now);
        self.tree_in(node, after, NodeEvent::GuardWakes(id));
    }

    pub(crate) fn guard_releases(
        &mut self,
        node: usize,
        epoch: Epoch,
        secret: [u8; 16],
        why: &str,
    ) {
        let data = self.nodes[node].disk.data.as_ref();
        let note = pgha_core::report::ReleaseNote {
            why: why.to_owned(),
            shutdown_lsn: data.filter(|d| d.clean).map(|d| d.end()),
            steps: Vec::new(),
        };
        self.count("release by guard");
        self.send_release(node, epoch, secret, note);
    }

    pub(crate) fn secret_epoch(&self, node: usize) -> Option<Epoch> {
        let sidecar = self.nodes[node].sidecar.as_ref()?;
        Some(sidecar.secret?.0)
    }

    /// A new sidecar empties what is left of the tree, and waits for it.
    pub fn empty_leftovers(&mut self, node: usize) -> Nanos {
        if self.nodes[node].postgres.is_some() {
            self.signal(node, StopMode::Kill, "left over");
            80 * MS
        } else {
            5 * MS
        }
    }
}
