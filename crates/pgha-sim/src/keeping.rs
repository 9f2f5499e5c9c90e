//! What a voter was told reaches its disk, and nobody waits for it.

use pgha_core::{Epoch, Lsn};

use crate::event::NodeEvent;
use crate::time::{MS, Nanos};
use crate::world::World;

/// How long a write takes.
const WRITE: Nanos = 10 * MS;
/// On a disk that stalls.
const STALLED_WRITE: Nanos = 2000 * MS;

impl World {
    /// Writes what the voter of this node was told last, unless a write is under way: the newest follows it.
    pub(crate) fn keep_told(&mut self, node: usize) {
        let n = &mut self.nodes[node];
        let Some(sidecar) = &mut n.sidecar else {
            return;
        };
        let told = sidecar.grantor.told();
        let Some(newest) = told.filter(|_| !sidecar.keeping && n.disk.told != told) else {
            return;
        };
        sidecar.keeping = true;
        let nonce = sidecar.me.nonce;
        let takes = if n.disk_stalls { STALLED_WRITE } else { WRITE };
        self.told.slowest_write = self.told.slowest_write.max(takes);
        self.sidecar_in(node, takes, NodeEvent::Kept(nonce, newest));
    }

    /// It is on disk.
    pub(crate) fn kept(&mut self, node: usize, told: (Epoch, Lsn)) {
        let n = &mut self.nodes[node];
        n.disk.told = Some(told);
        if let Some(sidecar) = &mut n.sidecar {
            sidecar.keeping = false;
        }
        self.keep_told(node);
    }

    /// How far this node's voter knows that the holder of `epoch` came, or would after a start.
    pub(crate) fn knows_told(&self, node: usize, epoch: Epoch) -> Option<Lsn> {
        let n = &self.nodes[node];
        match &n.sidecar {
            Some(sidecar) => sidecar.grantor.flush_lsn(epoch),
            None => {
                let told = n.disk.told.filter(|(of, _)| *of == epoch);
                told.map(|(_, flush_lsn)| flush_lsn)
            }
        }
    }
}
