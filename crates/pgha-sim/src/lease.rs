//! The lease threads of a sidecar: renewals out, grants in, no decision in between.

use std::time::Duration;

use pgha_core::gate::GateSetting;
use pgha_core::lease::{Answer, Hold, Holder, Renewal, RenewalRefusal, release_hash};
use pgha_core::report::ReleaseNote;
use pgha_core::{Epoch, Lsn, RaftId};
use rand::Rng;

use crate::event::{Message, NodeEvent};
use crate::mutant::Mutant;
use crate::node::ReleaseSecret;
use crate::world::World;

/// A PostgreSQL that answered nothing for this long is hung.
const HANG: Duration = Duration::from_secs(10);

impl World {
    /// Begins to collect the lease of `epoch`, and gives every earlier one up.
    pub fn hold_lease(&mut self, node: usize, epoch: Epoch) {
        let secret: ReleaseSecret = self.rng.random();
        let Some(membership) = self.effective(node).map(|membership| membership.id) else {
            return;
        };
        let quorums = self.electorate(node);
        let n = &mut self.nodes[node];
        let timing = n.disk.state.settings.lease();
        let Some(sidecar) = &mut n.sidecar else {
            return;
        };
        let current = sidecar.holder.as_ref().map(Holder::epoch);
        if epoch <= sidecar.local.given_up || current == Some(epoch) {
            return;
        }
        if let Some(old) = current {
            sidecar.local.given_up = sidecar.local.given_up.max(old);
        }
        let nonce = sidecar.me.nonce;
        sidecar.holder = Some(Holder::new(epoch, nonce, timing, membership, quorums));
        sidecar.held_since = None;
        sidecar.secret = Some((epoch, secret));
        self.sidecar_in(node, 0, NodeEvent::Renew(nonce, epoch));
    }

    /// How long a started member waits, by the settings that this one has applied.
    pub fn start_wait(&self, node: usize) -> Duration {
        if self.is(Mutant::GrantorForgets) {
            return Duration::ZERO;
        }
        self.nodes[node].disk.state.settings.start_wait()
    }

    /// Stops renewing.
    pub fn drop_lease(&mut self, node: usize) {
        let Some(sidecar) = &mut self.nodes[node].sidecar else {
            return;
        };
        if let Some(holder) = sidecar.holder.take() {
            sidecar.local.given_up = sidecar.local.given_up.max(holder.epoch());
        }
        sidecar.held_since = None;
    }

    /// Sends the next renewal to every voter.
    pub fn renew(&mut self, node: usize, epoch: Epoch) {
        let now = self.nodes[node].now(self.now);
        let Some(membership) = self.effective(node) else {
            return;
        };
        let start_wait = self.start_wait(node);
        let n = &mut self.nodes[node];
        let adopted = n.disk.adopted;
        let flush_lsn = n.disk.data.as_ref().map_or(Lsn::ZERO, |data| data.flushed);
        let Some(sidecar) = &mut n.sidecar else {
            return;
        };
        let hung = sidecar
            .silent_since
            .is_some_and(|since| now.since(since) >= HANG);
        let Some(holder) = sidecar.holder.as_mut().filter(|h| h.epoch() == epoch) else {
            return;
        };
        let timing = holder.timing();
        let nonce = sidecar.me.nonce;
        let secret = sidecar.secret.map_or([0; 16], |(_, secret)| secret);
        let members = membership.nodes.keys().copied();
        let asked = holder.asks(members, now);
        let held = holder.is_held(now);
        let Some(send) = holder.send(now) else {
            return self.dirty(node);
        };
        let every = n.clock.when(now + timing.renew_interval());
        self.sidecar_in(
            node,
            every.saturating_sub(self.now),
            NodeEvent::Renew(nonce, epoch),
        );
        if hung {
            return;
        }
        let renewal = Renewal {
            epoch,
            nonce,
            timing,
            start_wait,
            release_hash: release_hash(&secret),
            flush_lsn,
            membership: membership.id,
            adopted,
            held,
        };
        self.tells(send, &renewal);
        let me = self.nodes[node].disk.raft_id;
        for (to, index) in membership.nodes {
            if !asked.contains(&to) {
                continue;
            }
            if me == Some(to) {
                self.renewal(node, node, send, renewal.clone());
            } else if index != node {
                let renewal = renewal.clone();
                self.send(node, index, &Message::Renewal { to, send, renewal });
            }
        }
    }

    /// A grantor decides on a renewal.
    pub fn renewal(&mut self, node: usize, from: usize, send: u64, renewal: Renewal<u64>) {
        let now = self.nodes[node].now(self.now);
        let Some(sidecar) = &mut self.nodes[node].sidecar else {
            return;
        };
        let answer = sidecar.grantor.renew(now, &renewal);
        self.keep_told(node);
        let obeys = self.is(Mutant::OldEpochGranted);
        let granted = match answer {
            Answer::Granted => true,
            Answer::Refused(RenewalRefusal::OldEpoch) if obeys => true,
            Answer::Refused(refusal) => {
                self.count(&format!("renewal refused {refusal}"));
                false
            }
            // Unanswered: the holder's next renewal comes in time.
            Answer::AdoptFirst(epoch) => return self.adopts(node, epoch),
        };
        let adopted = if obeys {
            renewal.epoch
        } else {
            self.nodes[node].disk.adopted
        };
        let Some(by) = self.nodes[node].disk.raft_id else {
            return;
        };
        if granted {
            self.was_told(from, by, renewal.epoch, send);
        }
        let message = Message::Answer {
            by,
            nonce: renewal.nonce,
            epoch: renewal.epoch,
            send,
            granted,
            adopted,
        };
        if from == node {
            self.answered(node, by, renewal.epoch, send, granted, adopted);
        } else {
            self.send(node, from, &message);
        }
    }

    /// The epoch is on its way to the disk.
    pub fn adopts(&mut self, node: usize, epoch: Epoch) {
        let Some(sidecar) = &mut self.nodes[node].sidecar else {
            return;
        };
        if sidecar.adopting.is_some_and(|under_way| under_way >= epoch) {
            return;
        }
        sidecar.adopting = Some(epoch);
        let me = sidecar.me.nonce;
        let delay = if self.nodes[node].disk_stalls {
            self.span(200, 5000)
        } else {
            self.span(1, 20)
        };
        self.sidecar_in(node, delay, NodeEvent::Adopted(me, epoch));
    }

    /// The adopted epoch is on disk: the grantor may answer for it, an older holder is over.
    pub fn adopted(&mut self, node: usize, epoch: Epoch) {
        let n = &mut self.nodes[node];
        n.disk.adopted = n.disk.adopted.max(epoch);
        let Some(sidecar) = &mut n.sidecar else {
            return;
        };
        sidecar.grantor.adopt(epoch);
        self.heard_epoch(node, epoch);
        self.dirty(node);
    }

    fn heard_epoch(&mut self, node: usize, adopted: Epoch) {
        let stuck = self.is(Mutant::GateNeverCloses);
        let Some(sidecar) = &mut self.nodes[node].sidecar else {
            return;
        };
        let Some(holder) = &mut sidecar.holder else {
            return;
        };
        holder.heard_epoch(adopted);
        if adopted > holder.epoch() && sidecar.gate.epoch == holder.epoch() && !stuck {
            sidecar.gate = GateSetting::CLOSED;
            self.dirty(node);
        }
    }

    /// A grantor has answered.
    pub fn answered(
        &mut self,
        node: usize,
        by: RaftId,
        epoch: Epoch,
        send: u64,
        granted: bool,
        adopted: Epoch,
    ) {
        let now = self.nodes[node].now(self.now);
        self.heard_epoch(node, adopted);
        let stuck = self.is(Mutant::GateNeverCloses);
        let Some(sidecar) = &mut self.nodes[node].sidecar else {
            return;
        };
        let Some(holder) = sidecar.holder.as_mut().filter(|h| h.epoch() == epoch) else {
            return;
        };
        if granted {
            holder.granted(by, send, now);
        }
        let Hold::Held(deadlines) = holder.hold(now) else {
            return;
        };
        let first = sidecar.held_since.is_none();
        sidecar.held_since.get_or_insert(now);
        if sidecar.gate.epoch == epoch && !stuck {
            sidecar.gate.close_at = deadlines.close;
            if !sidecar.draining {
                sidecar.gate.hold_at = deadlines.hold;
            }
        }
        self.guard_deadline(node, epoch, deadlines.kill);
        if first {
            self.dirty(node);
        }
    }

    /// Proves to every voter that nothing of `epoch` is left.
    pub fn send_release(
        &mut self,
        node: usize,
        epoch: Epoch,
        secret: ReleaseSecret,
        note: ReleaseNote,
    ) {
        self.count("release sent");
        let message = Message::Release {
            epoch,
            secret,
            note,
        };
        // Twice, as one datagram's loss would cost a lease.
        self.broadcast(node, &message);
        self.broadcast(node, &message);
        if let Message::Release {
            epoch,
            secret,
            note,
        } = message
        {
            self.released(node, epoch, &secret, note);
        }
    }

    /// A release arrived.
    pub fn released(
        &mut self,
        node: usize,
        epoch: Epoch,
        secret: &ReleaseSecret,
        note: ReleaseNote,
    ) {
        if let Some(sidecar) = &mut self.nodes[node].sidecar
            && sidecar.grantor.release(epoch, secret).fits()
        {
            sidecar.notes.entry(epoch).or_insert(note);
            self.dirty(node);
        }
    }
}
