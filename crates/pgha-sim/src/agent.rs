//! The agent of one member: gather, decide, carry out, sleep until the decision's wake time or an
//! event.

use pgha_core::decide::{
    Fresh, Input, LeaseView, Local, LocalGrant, Me, Since, Tree, Why, decide, report,
};
use pgha_core::gate::GateSetting;
use pgha_core::lease::{Grantor, Hold};
use pgha_core::{Epoch, ForkId, MemberKind, Mono, Nonce, Phase};
use rand::Rng;

use crate::choice;
use crate::event::{Message, NodeEvent};
use crate::mutant::Mutant;
use crate::node::{RaftMemory, Sidecar};
use crate::silence;
use crate::time::MS;
use crate::world::World;

impl World {
    /// A new sidecar process.
    pub fn sidecar_starts(&mut self, node: usize) {
        if self.nodes[node].sidecar.is_some() {
            return;
        }
        if self.nodes[node].disk.raft_id.is_none() {
            return self.asks_for_place(node);
        }
        if self.is_ruled_out_at_start(node) {
            return self.asks_for_place(node);
        }
        let nonce = Nonce(self.fresh_id());
        self.trace(Some(node), || format!("sidecar starts as {nonce}"));
        let now = self.nodes[node].now(self.now);
        let wait = self.start_wait(node);
        let forgetful = self.is(Mutant::ToldForgotten);
        let membership = self.effective(node).map(|membership| membership.id);
        let n = &mut self.nodes[node];
        let told = n.disk.told.filter(|_| !forgetful);
        let grantor = Grantor::started(n.disk.adopted, told, membership, now, wait);
        n.sidecar = Some(Sidecar {
            me: Me {
                name: n.name.clone(),
                nonce,
                kind: n.kind,
            },
            local: Local::default(),
            holder: None,
            held_since: None,
            secret: None,
            grantor,
            notes: std::collections::BTreeMap::new(),
            gate: GateSetting::CLOSED,
            peers: std::collections::BTreeMap::new(),
            since: Since {
                phase: now,
                epoch: now,
                proposed: None,
                handover: now,
            },
            raft: RaftMemory::default(),
            decision_due: false,
            wake: 0,
            told: None,
            job: None,
            adopting: None,
            keeping: false,
            reported: std::collections::BTreeMap::new(),
            silent_since: None,
            why: Why::default(),
            draining: false,
            examining: false,
            reads_end: false,
        });
        if let Phase::Primary(record) = &n.disk.state.phase
            && let Some(sidecar) = &mut n.sidecar
        {
            sidecar.grantor.know_epoch(record.epoch, now);
        }
        self.lease_learns_membership(node);
        let leftovers = self.empty_leftovers(node);
        self.sidecar_in(node, leftovers, NodeEvent::LeftoversGone(nonce));
        self.sidecar_in(node, 0, NodeEvent::Tell(nonce));
        self.sidecar_in(node, 100 * MS, NodeEvent::Probe(nonce));
        self.refresh_view(node);
        self.dirty(node);
    }

    /// Nothing of an earlier sidecar runs any more.
    pub fn leftovers_gone(&mut self, node: usize) {
        if self.nodes[node].postgres.is_some() {
            let nonce = self.nonce(node).unwrap_or_default();
            let again = self.empty_leftovers(node);
            return self.sidecar_in(node, again, NodeEvent::LeftoversGone(nonce));
        }
        // It may have been seen already, and something else have been started since.
        if let Some(sidecar) = &mut self.nodes[node].sidecar
            && sidecar.local.tree == Tree::Unknown
        {
            sidecar.local.tree = Tree::Empty;
        }
        self.examine(node);
        self.dirty(node);
    }

    /// Something that decisions see has changed.
    pub fn dirty(&mut self, node: usize) {
        let delay = self.rng.random_range(0..=2 * MS);
        let Some(sidecar) = &mut self.nodes[node].sidecar else {
            return;
        };
        if !sidecar.decision_due {
            sidecar.decision_due = true;
            let nonce = sidecar.me.nonce;
            self.sidecar_in(node, delay, NodeEvent::Decide(nonce));
        }
    }

    /// Gathers, decides, carries out.
    pub fn decide_now(&mut self, node: usize) {
        self.gather(node);
        let now = self.nodes[node].now(self.now);
        let fresh = Fresh {
            fork_id: ForkId::from(format!("f{:x}", self.rng.random::<u64>())),
            at: String::new(),
        };
        let unlimited = self.is(Mutant::LagUnchecked).then(|| {
            let mut state = self.nodes[node].disk.state.clone();
            state.settings.max_lag_on_failover = u64::MAX;
            state
        });
        let passes_over = self.is(Mutant::BestPassedOver);
        let ageless = self.is(Mutant::WaitsForEver);
        let impatient = self.is(Mutant::SlowForSilent);
        let n = &mut self.nodes[node];
        let Some(sidecar) = &mut n.sidecar else {
            return;
        };
        sidecar.decision_due = false;
        let mut since = sidecar.since;
        if ageless {
            since.phase = now;
        }
        let without_best = passes_over.then(|| choice::without_best(&sidecar.peers));
        let silenced = impatient.then(|| silence::slow_for_silent(&sidecar.peers, now));
        let misheard = without_best.or(silenced);
        let input = Input {
            me: &sidecar.me,
            now,
            state: unlimited.as_ref().unwrap_or(&n.disk.state),
            since,
            raft: &sidecar.raft.view,
            local: &sidecar.local,
            peers: misheard.as_ref().unwrap_or(&sidecar.peers),
            fresh: &fresh,
        };
        let decision = decide(&input);
        let changed = sidecar.why != decision.why;
        let before = std::mem::replace(&mut sidecar.why, decision.why);
        sidecar.wake += 1;
        let (nonce, wake) = (sidecar.me.nonce, sidecar.wake);
        let after = n.clock.when(decision.wake_at).saturating_sub(self.now);
        self.sidecar_in(node, after, NodeEvent::Wake(nonce, wake));
        if changed {
            let why = self.nodes[node].sidecar.as_ref().map(|s| s.why.clone());
            self.trace(Some(node), || format!("is {why:?}"));
            self.chronicle_why(node, &before);
        }
        self.carry_out(node, decision.actions);
        self.tell_changes(node);
    }

    /// Fills in what others than the executor know: lease, gate, grants.
    fn gather(&mut self, node: usize) {
        let believes = self.is(Mutant::LeaseBelieved);
        let forgetful = self.is(Mutant::ToldForgotten);
        let now = self.nodes[node].now(self.now);
        let n = &mut self.nodes[node];
        let about = match &n.disk.state.phase {
            Phase::Primary(record) => record.epoch,
            Phase::Revoked(revoked) => revoked
                .previous
                .as_ref()
                .map_or(Epoch::NONE, |previous| previous.epoch),
            Phase::Empty | Phase::Bootstrap { .. } => Epoch::NONE,
        };
        let timing = n.disk.state.settings.lease();
        let Some(sidecar) = &mut n.sidecar else {
            return;
        };
        sidecar.local.adopted = n.disk.adopted;
        let held_since = sidecar.held_since;
        sidecar.local.lease = sidecar
            .holder
            .as_mut()
            .map_or_else(LeaseView::default, |holder| LeaseView {
                epoch: holder.epoch(),
                hold: holder.hold(now),
                deadlines: holder.deadlines(),
                held_since,
            });
        if believes && sidecar.holder.is_some() {
            let deadlines = timing.deadlines(now);
            sidecar.local.lease.hold = Hold::Held(deadlines);
        }
        let gate = sidecar.gate;
        sidecar.local.gate_open = gate.may_pass(gate.epoch, now).then_some(gate.epoch);
        sidecar.local.grant = LocalGrant {
            epoch: about,
            silent_at: sidecar.grantor.silent_at(about, timing),
            released: sidecar.notes.get(&about).cloned(),
            flush_lsn: sidecar.grantor.flush_lsn(about),
            remembers: sidecar.grantor.remembers(about) || forgetful,
            promised: sidecar.grantor.promised(about),
        };
    }

    /// Sends the report again, whether it changed or not.
    pub fn tell(&mut self, node: usize) {
        if let Some(nonce) = self.nonce(node) {
            self.sidecar_in(node, 150 * MS, NodeEvent::Tell(nonce));
        }
        if let Some(sidecar) = &mut self.nodes[node].sidecar {
            sidecar.told = None;
        }
        self.tell_changes(node);
    }

    fn tell_changes(&mut self, node: usize) {
        self.gather(node);
        let now: Mono = self.nodes[node].now(self.now);
        let n = &mut self.nodes[node];
        let Some(sidecar) = &mut n.sidecar else {
            return;
        };
        let fresh = Fresh {
            fork_id: ForkId::default(),
            at: String::new(),
        };
        let input = Input {
            me: &sidecar.me,
            now,
            state: &n.disk.state,
            since: sidecar.since,
            raft: &sidecar.raft.view,
            local: &sidecar.local,
            peers: &sidecar.peers,
            fresh: &fresh,
        };
        let Some(mut report) = report(&input, &sidecar.why) else {
            return;
        };
        report.applied_index = n.disk.applied as u64;
        if sidecar
            .told
            .as_ref()
            .is_some_and(|(told, _)| *told == report)
        {
            return;
        }
        sidecar.told = Some((report.clone(), now));
        self.broadcast(node, &Message::Report(self.now, Box::new(report)));
    }

    /// Asks PostgreSQL, and comes back.
    pub fn probe(&mut self, node: usize) {
        if let Some(nonce) = self.nonce(node) {
            let pause = self.span(300, 700);
            self.sidecar_in(node, pause, NodeEvent::Probe(nonce));
        }
        if self.nodes[node].kind == MemberKind::Data {
            self.probe_now(node);
        }
    }
}
