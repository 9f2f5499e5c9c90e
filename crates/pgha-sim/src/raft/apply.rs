//! Every member's state machine, behind the log by as much as it likes.

use pgha_core::{Command, Phase};

use super::Entry;
use crate::event::NodeEvent;
use crate::world::World;

impl World {
    /// Applies what is committed after a while.
    pub fn apply_soon(&mut self, node: usize) {
        let Some(sidecar) = &self.nodes[node].sidecar else {
            return;
        };
        let disk = &self.nodes[node].disk;
        let behind = disk.applied < sidecar.raft.committed.min(disk.stored);
        let nonce = sidecar.me.nonce;
        if behind || !sidecar.raft.told {
            let slow = self.nodes[node].apply_slow && self.healed.is_none();
            let delay = if slow {
                self.span(5, 1500)
            } else {
                self.span(0, 3)
            };
            self.sidecar_in(node, delay, NodeEvent::Apply(nonce));
        } else {
            self.caught_up(node);
        }
    }

    fn caught_up(&mut self, node: usize) {
        let wait = self.start_wait(node);
        let applied = self.nodes[node].disk.applied;
        if let Some(sidecar) = &mut self.nodes[node].sidecar
            && sidecar.raft.told
            && applied >= sidecar.raft.committed
        {
            sidecar.grantor.set_caught_up(wait);
        }
    }

    /// Brings the state machine up to what is committed.
    pub fn apply(&mut self, node: usize) {
        let committed = match &self.nodes[node].sidecar {
            Some(sidecar) => sidecar.raft.committed.min(self.nodes[node].disk.stored),
            None => return,
        };
        while self.nodes[node].disk.applied < committed {
            self.apply_one(node);
        }
        self.caught_up(node);
        self.examine(node);
        self.dirty(node);
    }

    fn apply_one(&mut self, node: usize) {
        let now = self.nodes[node].now(self.now);
        let n = &mut self.nodes[node];
        let entry = &self.raft.log[n.disk.applied];
        n.disk.applied += 1;
        let Entry::Command(command) = entry else {
            return self.lease_learns_membership(node);
        };
        let index = n.disk.applied as u64;
        let result = n.disk.state.apply(index, command);
        let Some(sidecar) = &mut n.sidecar else {
            return;
        };
        if result.is_err() {
            return;
        }
        match command {
            Command::Revoke(_) | Command::Recover(_) | Command::Bootstrap { .. } => {
                sidecar.since.epoch = now;
                sidecar.since.phase = now;
            }
            Command::Primary(_) => {
                sidecar.since.phase = now;
                sidecar.since.proposed = None;
            }
            Command::Handover { .. } => sidecar.since.handover = now,
            Command::Create(_)
            | Command::Opened(_)
            | Command::HandoverEnd { .. }
            | Command::SetSettings { .. }
            | Command::PutMember { .. }
            | Command::Lost { .. } => {}
        }
        if let Phase::Primary(record) = &n.disk.state.phase {
            sidecar.grantor.know_epoch(record.epoch, now);
        }
    }
}
