//! What people do: orders through the raft leader, and promotions that nobody was asked about.

use std::collections::BTreeMap;

use pgha_core::command::Revoke;
use pgha_core::decide::Tree;
use pgha_core::journal::Cause;
use pgha_core::{Command, MemberKind};
use rand::Rng;

use crate::event::NodeEvent;
use crate::fault::Fault;
use crate::time::MS;
use crate::wal::RecordKind;
use crate::world::World;

impl World {
    /// Once a run, and only while somebody else has the data: nobody may lead with a history that
    /// nobody assigned, so the rest of the run would be a wait for an operator.
    pub(crate) fn hand_promotion(&mut self, node: usize) {
        let others = (0..self.nodes.len()).filter(|other| {
            let receiver = self.nodes[*other].postgres.as_ref().map(|p| &p.receiver);
            let elsewhere =
                matches!(receiver, Some(Some(r)) if r.attached.is_some() && r.from != node);
            *other != node && elsewhere
        });
        if others.count() == 0 || self.counts.contains_key("promotion by hand") {
            return;
        }
        self.promote_by_hand(node);
    }

    /// A replica becomes the twin of the one that was just named, if somebody is about to.
    pub fn twin_of(&mut self, named: &pgha_core::MemberName) {
        let data = |node: &usize| self.nodes[*node].kind == MemberKind::Data;
        let others: Vec<usize> = (0..self.nodes.len())
            .filter(data)
            .filter(|node| self.nodes[*node].name != *named && self.nodes[*node].postgres_runs())
            .collect();
        let first = !self.counts.contains_key("promotion by hand");
        let enough = (0..self.nodes.len()).filter(data).count() > 2;
        if let (true, true, Some(twin)) = (first, enough, others.first())
            && std::mem::take(&mut self.by_hand_meanwhile)
        {
            let after = self.span(1, 150);
            self.tree_in(*twin, after, NodeEvent::PromotedByHand);
        }
    }

    /// `pg_ctl promote`, and no more.
    pub fn promote_by_hand(&mut self, node: usize) {
        let origin = self.fresh_id();
        let n = &mut self.nodes[node];
        let (Some(postgres), Some(data)) = (&mut n.postgres, &mut n.disk.data) else {
            return;
        };
        if !postgres.ready || postgres.writable || postgres.hung || n.frozen {
            return;
        }
        let timeline = data.newest_history.max(data.timeline()).next();
        n.promoted_by_hand = true;
        postgres.writable = true;
        postgres.receiver = None;
        data.was_primary = true;
        data.newest_history = timeline;
        data.append(96, timeline, RecordKind::EndOfRecovery, origin);
        self.count("promotion by hand");
        self.chronicle(node, || {
            format!("PostgreSQL is promoted by hand to timeline {timeline}")
        });
        // Nothing tells the sidecar: its next probe finds it.
    }

    pub(crate) fn ask_to_stop(&mut self, node: usize) {
        let n = &mut self.nodes[node];
        if let Some(sidecar) = &mut n.sidecar {
            sidecar.local.shutting_down = true;
            let nonce = sidecar.me.nonce;
            self.sidecar_in(node, 100 * MS, NodeEvent::Leaves(nonce, 300));
            self.dirty(node);
        }
    }

    /// A sidecar that was asked to stop looks whether it may.
    pub fn leaves(&mut self, node: usize, tries: u32) {
        let n = &mut self.nodes[node];
        let Some(sidecar) = &n.sidecar else { return };
        let nonce = sidecar.me.nonce;
        let empty = matches!(sidecar.local.tree, Tree::Empty) && n.postgres.is_none();
        let witness = n.kind == MemberKind::Witness;
        if (empty || witness) && sidecar.local.releasable.is_none() {
            self.count("orderly end");
            self.die(node, false);
        } else if tries == 0 {
            self.count("orderly end without patience");
            self.die(node, false);
        } else {
            self.sidecar_in(node, 100 * MS, NodeEvent::Leaves(nonce, tries - 1));
        }
    }

    /// An operator's command reaches the raft leader, if there is one.
    pub(crate) fn operate(&mut self, fault: Fault) {
        let Some(leader) = self.raft.leader.filter(|l| self.has_quorum(*l)) else {
            return;
        };
        let index = self.rng.random_range(0..self.nodes.len());
        let target = self.nodes[index].name.clone();
        let any = self.chance(30);
        let command = match fault {
            Fault::Switchover => Command::Handover {
                epoch: self.truth.epoch,
                target: (!any).then_some(target),
                deadline_ms: self.rng.random_range(500..20_000),
            },
            Fault::OperatorFailover => Command::Revoke(Revoke {
                expected: self.truth.epoch,
                cause: Cause::OperatorFailover {
                    target,
                    allow_data_loss: self.chance(50),
                },
                leader: self.nodes[leader].name.clone(),
                at: String::new(),
                steps: Vec::new(),
            }),
            _ => self.settings(),
        };
        self.propose(leader, command);
    }

    fn settings(&mut self) -> Command {
        let version = self.truth.settings.version;
        let (key, value) = match self.rng.random_range(0..4) {
            0 => ("lease_ms", self.rng.random_range(1010..4000).to_string()),
            1 => {
                let crash = ["auto", "restart", "failover"][self.rng.random_range(0..3)];
                ("on_primary_crash", crash.to_owned())
            }
            2 => ("lease_ms", "10".to_owned()),
            _ => {
                let bytes = [0, 1000, 16 << 20][self.rng.random_range(0..3)];
                ("max_lag_on_failover", bytes.to_string())
            }
        };
        Command::SetSettings {
            // Somebody else may have been quicker.
            expected_version: version.saturating_sub(u64::from(self.chance(20))),
            set: BTreeMap::from([(key.to_owned(), value)]),
            unset: Vec::new(),
        }
    }
}
