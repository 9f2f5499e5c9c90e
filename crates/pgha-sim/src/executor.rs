//! Carries out decisions as the daemon's executor does: what each action and each field of `Local`
//! means is written down here as code.

use pgha_core::decide::{Action, StopMode, Tree, Upstream};
use pgha_core::gate::GateSetting;
use pgha_core::journal::Step;
use pgha_core::report::ReleaseNote;
use pgha_core::{Epoch, invariant};
use rand::Rng;

use crate::event::NodeEvent;
use crate::mutant::Mutant;
use crate::node::Receiver;
use crate::time::MS;
use crate::tracked::job_name;
use crate::world::World;

impl World {
    /// Carries out a decision's actions in order; a crash may come after any number of them.
    pub fn carry_out(&mut self, node: usize, mut actions: Vec<Action>) {
        let dies = self.dies_in_decision.filter(|dies| dies.node == node);
        let dies = dies.filter(|_| !actions.is_empty());
        if dies.is_some() {
            self.dies_in_decision = None;
            let done = self.rng.random_range(0..=actions.len());
            self.count(&format!("death after {done} actions"));
            actions.truncate(done);
        }
        for action in actions {
            self.note_action(node, &action);
            self.carry_out_one(node, action);
            if self.nodes[node].sidecar.is_none() {
                return;
            }
        }
        if let Some(dies) = dies {
            self.die(node, dies.whole);
        }
    }

    fn note_action(&mut self, node: usize, action: &Action) {
        let text = format!("{action:?}");
        let name = text.split([' ', '(', '{']).next().unwrap_or_default();
        let name = match action {
            Action::Begin(kind) => format!("Begin {}", job_name(kind)),
            Action::Stop(mode) => format!("Stop {mode:?}"),
            Action::Adopt(_)
            | Action::HoldLease(_)
            | Action::DropLease
            | Action::OpenGate(_)
            | Action::DrainGate(_)
            | Action::CloseGate
            | Action::StartStandby { .. }
            | Action::StartAttached(_)
            | Action::StartPrimary(_)
            | Action::Assume(_)
            | Action::Follow(_)
            | Action::CancelJob
            | Action::KeepSlots(_)
            | Action::Release { .. }
            | Action::Propose(_)
            | Action::TransferLeadership(_) => name.to_owned(),
        };
        self.count(&format!("action {name}"));
        self.trace(Some(node), || format!("does {text}"));
        self.check_quiet(node, &text);
    }

    fn carry_out_one(&mut self, node: usize, action: Action) {
        match action {
            // What was decided beside it does not wait, and a crash may come before it.
            Action::Adopt(epoch) => self.adopts(node, epoch),
            Action::HoldLease(epoch) => self.hold_lease(node, epoch),
            Action::DropLease => self.drop_lease(node),
            Action::OpenGate(epoch) => self.open_gate(node, epoch),
            Action::DrainGate(epoch) => self.drain_gate(node, epoch),
            Action::CloseGate => self.close_gate(node),
            Action::StartStandby { pinned } => {
                let since = self.nodes[node].now(self.now);
                self.start(node, Tree::Standby { since, pinned });
                self.follows_whoever(node);
            }
            Action::StartAttached(upstream) => {
                let since = self.nodes[node].now(self.now);
                self.start(
                    node,
                    Tree::Standby {
                        since,
                        pinned: None,
                    },
                );
                self.follow(node, upstream);
            }
            Action::StartPrimary(epoch) => self.start_primary(node, epoch),
            Action::Assume(epoch) => self.assume(node, epoch),
            Action::Stop(mode) => self.stop(node, mode),
            Action::Follow(upstream) => self.follow(node, upstream),
            Action::Begin(kind) => self.begin_job(node, kind),
            Action::CancelJob => self.cancel_job(node),
            Action::KeepSlots(names) => self.keep_slots(node, &names),
            Action::Release { epoch, why } => self.release(node, epoch, why),
            Action::Propose(command) => self.propose(node, *command),
            Action::TransferLeadership(to) => {
                let now = self.nodes[node].now(self.now);
                if let Some(sidecar) = &mut self.nodes[node].sidecar {
                    sidecar.raft.transfer_tried = Some(now);
                }
                if self.raft.leader == Some(node) {
                    self.raft.transfer = self.index_of(&to);
                }
                self.refresh_view(node);
            }
        }
    }

    /// Opens the gate until the lease's deadlines; not at all where the lease is not held.
    fn open_gate(&mut self, node: usize, epoch: Epoch) {
        let stuck = self.is(Mutant::GateNeverCloses);
        let now = self.nodes[node].now(self.now);
        let Some(sidecar) = &mut self.nodes[node].sidecar else {
            return;
        };
        let Some(deadlines) = sidecar.deadlines(epoch, now) else {
            return;
        };
        sidecar.draining = false;
        if sidecar.gate.epoch != epoch {
            sidecar.local.gate_opened_at = Some(now);
        }
        sidecar.gate = GateSetting {
            epoch,
            hold_at: deadlines.hold,
            close_at: if stuck {
                pgha_core::Mono::NEVER
            } else {
                deadlines.close
            },
        };
        self.gate_opened(node, epoch);
        self.dirty(node);
    }

    fn drain_gate(&mut self, node: usize, epoch: Epoch) {
        if let Some(sidecar) = &mut self.nodes[node].sidecar
            && sidecar.gate.epoch == epoch
        {
            sidecar.draining = true;
            sidecar.gate.hold_at = pgha_core::Mono::ZERO;
        }
    }

    fn close_gate(&mut self, node: usize) {
        if self.is(Mutant::GateNeverCloses) {
            return;
        }
        if let Some(sidecar) = &mut self.nodes[node].sidecar {
            sidecar.gate = GateSetting::CLOSED;
            sidecar.draining = false;
        }
        self.dirty(node);
    }

    /// The lease is looked at once more at the last moment: time has passed since the decision.
    fn start_primary(&mut self, node: usize, epoch: Epoch) {
        if self.nodes[node].postgres.is_some() {
            return;
        }
        self.check_start(node, epoch);
        let since = self.nodes[node].now(self.now);
        self.start(node, Tree::Primary { epoch, since });
        self.entrust(node, epoch);
    }

    fn assume(&mut self, node: usize, epoch: Epoch) {
        let since = self.nodes[node].now(self.now);
        if self.nodes[node].postgres.is_none() {
            return;
        }
        self.check_start(node, epoch);
        if let Some(sidecar) = &mut self.nodes[node].sidecar {
            sidecar.local.assumes(epoch, since);
        }
        self.entrust(node, epoch);
        self.dirty(node);
    }

    /// The guard holds the tree for this epoch from now on, with its deadline and its secret.
    fn entrust(&mut self, node: usize, epoch: Epoch) {
        let now = self.nodes[node].now(self.now);
        let n = &mut self.nodes[node];
        let Some(sidecar) = &mut n.sidecar else {
            return;
        };
        n.guard.secret = sidecar.secret.filter(|(of, _)| *of == epoch);
        let deadlines = sidecar.deadlines(epoch, now);
        if let Some(postgres) = &mut n.postgres {
            postgres.epoch = Some(epoch);
        }
        if let Some(deadlines) = deadlines {
            self.guard_deadline(node, epoch, deadlines.kill);
        }
    }

    fn check_start(&mut self, node: usize, epoch: Epoch) {
        let now = self.nodes[node].now(self.now);
        let n = &mut self.nodes[node];
        let Some(sidecar) = &mut n.sidecar else {
            return;
        };
        let view = invariant::StartView {
            member: &n.name,
            epoch,
            lease_held: sidecar.deadlines(epoch, now).is_some(),
            adopted: n.disk.adopted,
        };
        let checked = invariant::start(&view);
        self.check(checked);
    }

    /// What a started tree looks like to the sidecar: nothing answered yet, nobody followed.
    fn start(&mut self, node: usize, tree: Tree) {
        if self.nodes[node].postgres.is_some() {
            return;
        }
        if let Some(sidecar) = &mut self.nodes[node].sidecar {
            sidecar.local.starts(tree.clone());
        }
        self.launch(node, &tree);
        if let Some(nonce) = self.nonce(node) {
            // What is ordered before the guard has said so comes too early.
            let begun = self.span(0, 20);
            self.sidecar_in(node, begun, NodeEvent::Started(nonce));
        }
        self.dirty(node);
    }

    /// The guard has begun the start.
    pub fn started(&mut self, node: usize) {
        if let Some(sidecar) = &mut self.nodes[node].sidecar {
            sidecar.local.has_started();
        }
        self.dirty(node);
    }

    /// The same order again changes nothing, a harder one counts from now.
    fn stop(&mut self, node: usize, mode: StopMode) {
        let now = self.nodes[node].now(self.now);
        let n = &mut self.nodes[node];
        let Some(sidecar) = &mut n.sidecar else {
            return;
        };
        if n.postgres.is_none() {
            return;
        }
        if sidecar.local.stops(mode, now) {
            self.signal(node, mode, "ordered");
            self.dirty(node);
        }
    }

    /// What was settled is void: more will be received.
    pub(crate) fn follow(&mut self, node: usize, upstream: Upstream) {
        let now = self.nodes[node].now(self.now);
        let from = self.index_of(&upstream.node);
        let n = &mut self.nodes[node];
        let (Some(sidecar), Some(postgres), Some(from)) = (&mut n.sidecar, &mut n.postgres, from)
        else {
            return;
        };
        if sidecar.local.upstream.as_ref() == Some(&upstream) {
            return;
        }
        // Promoted by hand since it was looked at: nobody starts a receiver there any more.
        if !postgres.writable {
            postgres.receiver = Some(Receiver {
                from,
                slot: upstream.slot.clone(),
                attached: None,
            });
        }
        let id = postgres.id;
        sidecar.local.follows(upstream, now);
        let delay = self.span(2, 40);
        self.tree_in(node, delay, NodeEvent::Stream(id));
        self.dirty(node);
    }

    fn keep_slots(&mut self, node: usize, names: &[String]) {
        if !self.nodes[node].postgres_runs() {
            return;
        }
        if let Some(data) = &mut self.nodes[node].disk.data {
            let kept = data.redo.max(data.kept_from);
            data.slots.retain(|name, _| names.contains(name));
            for name in names {
                data.slots.entry(name.clone()).or_insert(kept);
            }
        }
        let nonce = self.nonce(node).unwrap_or_default();
        self.sidecar_in(node, 2 * MS, NodeEvent::ProbeOnce(nonce));
    }

    /// Sends the secret to every voter. This process never collects the epoch again.
    fn release(&mut self, node: usize, epoch: Epoch, why: String) {
        let n = &mut self.nodes[node];
        let shutdown_lsn = n
            .disk
            .data
            .as_ref()
            .filter(|data| data.clean)
            .map(|data| data.end());
        let Some(sidecar) = &mut n.sidecar else {
            return;
        };
        sidecar.local.releases(epoch);
        let note = ReleaseNote {
            why,
            shutdown_lsn,
            steps: vec![Step {
                name: "released".to_owned(),
                ms: 0,
            }],
        };
        let secret = sidecar.secret.filter(|(of, _)| *of == epoch);
        if let Some((_, secret)) = secret {
            self.send_release(node, epoch, secret, note);
        }
        self.dirty(node);
    }
}
