//! Carries orders out, and lets time pass.

use std::collections::BTreeMap;

use pgha_core::MemberKind;
use pgha_core::decide::JobKind;

use crate::event::NodeEvent;
use crate::fault::Mend;
use crate::script::order::{Goal, Order, Who, Work};
use crate::time::{MS, Nanos, SECOND};
use crate::world::{Shape, World};

const FORMED_WITHIN: Nanos = 60 * SECOND;

/// What an order told, or why it cannot be carried out.
pub(super) type Told = Result<Vec<String>, String>;

/// A world with the names that a script gave.
pub(super) struct Stage {
    pub(super) world: World,
    names: BTreeMap<String, usize>,
}

impl Stage {
    pub(super) fn new(seed: u64, shape: Shape, tracing: bool) -> Self {
        Self {
            world: World::scripted(seed, shape, tracing),
            names: BTreeMap::new(),
        }
    }

    /// What it led to.
    pub(super) fn carry_out(&mut self, order: Order) -> Told {
        let mut told = self.act(order)?;
        let world = &mut self.world;
        let mut all = world
            .chronicle
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default();
        all.append(&mut told);
        all.extend(
            world
                .failure
                .take()
                .map(|failure| format!("BROKEN: {failure}")),
        );
        Ok(all)
    }

    fn act(&mut self, order: Order) -> Told {
        match order {
            Order::Let(name, who) => {
                let node = self.who(&who)?;
                self.names.insert(name, node);
                return Ok(vec![self.world.nodes[node].name.to_string()]);
            }
            Order::Form => return self.form(),
            Order::Run(span) => self.run(span),
            Order::Until(goal, span) => return self.until(&goal, span),
            Order::Start(who) => {
                let node = self.who(&who)?;
                let n = &self.world.nodes[node];
                match (n.up, &n.sidecar) {
                    (false, _) => self.world.mend(Mend::Boot(node)),
                    (true, None) => self.world.sidecar_in(node, MS, NodeEvent::SidecarStarts),
                    (true, Some(_)) => return Ok(vec![format!("{who} runs already")]),
                }
            }
            Order::Heal => self.world.heal(),
            Order::Writes => return Ok(vec![self.writes()]),
            other => return self.damage(other),
        }
        Ok(Vec::new())
    }

    fn form(&mut self) -> Told {
        let mut told = self.until(&Goal::Whole, FORMED_WITHIN)?;
        self.world.chronicle = Some(Vec::new());
        let primary = self.world.truth.primary();
        let primary = primary.map(|record| format!("{} is primary", record.node));
        told.extend(primary);
        Ok(told)
    }

    fn run(&mut self, span: Nanos) {
        let end = self.world.now + span;
        while self.world.now < end && self.world.failure.is_none() {
            self.world.step();
        }
    }

    fn until(&mut self, goal: &Goal, span: Nanos) -> Told {
        // Who is meant is decided now: `primary` may be another one when it is reached.
        let whom = match goal {
            Goal::Gone(who) | Goal::Working(who, _) => Some(self.who(who)?),
            Goal::Open(_) | Goal::NobodyWrites | Goal::Whole => None,
        };
        let end = self.world.now + span;
        while !self.is_reached(goal, whom) {
            if self.world.now >= end || self.world.failure.is_some() {
                return Ok(vec!["NOT IN TIME".to_owned()]);
            }
            self.world.step();
        }
        Ok(Vec::new())
    }

    fn is_reached(&self, goal: &Goal, whom: Option<usize>) -> bool {
        let world = &self.world;
        match goal {
            Goal::Open(epoch) => world
                .truth
                .primary()
                .is_some_and(|record| record.opened && record.epoch.0 >= *epoch),
            Goal::NobodyWrites => !world
                .gates()
                .any(|gate| gate.setting.may_pass(gate.setting.epoch, gate.now)),
            Goal::Whole => world.incomplete().is_none(),
            Goal::Gone(_) => whom.is_some_and(|node| world.nodes[node].postgres.is_none()),
            Goal::Working(_, work) => whom.is_some_and(|node| self.works(node, *work)),
        }
    }

    /// Whether this is what the member is at.
    pub(super) fn works(&self, node: usize, work: Work) -> bool {
        let sidecar = self.world.nodes[node].sidecar.as_ref();
        let job = sidecar.and_then(|sidecar| sidecar.job.as_ref());
        job.is_some_and(|job| match job.kind {
            JobKind::Clone { .. } => work == Work::Clone,
            JobKind::Rewind { .. } => work == Work::Rewind,
            JobKind::Promote { .. } => work == Work::Promotion,
            JobKind::Checkpoint { .. } => work == Work::Checkpoint,
            JobKind::Initialize | JobKind::Settle => false,
        })
    }

    fn writes(&mut self) -> String {
        self.world.check_losses();
        if let Some(failure) = &self.world.failure {
            return format!("BROKEN: {failure}");
        }
        let acknowledged = &self.world.acknowledged;
        let lost = acknowledged.iter().filter(|write| write.lost_in.is_some());
        match (acknowledged.len(), lost.count()) {
            (0, _) => "NOTHING was acknowledged".to_owned(),
            (_, 0) => "every acknowledged write is there".to_owned(),
            (_, _) => "some acknowledged writes are lost, within what the journal says".to_owned(),
        }
    }

    pub(super) fn who(&self, who: &Who) -> Result<usize, String> {
        let world = &self.world;
        let primary = world.truth.primary().map(|record| &record.node);
        let found = match who.as_str() {
            "primary" => primary.and_then(|name| world.index_of(name)),
            "leader" => world.raft.leader,
            "replica" => world
                .nodes
                .iter()
                .position(|node| node.kind == MemberKind::Data && Some(&node.name) != primary),
            "other" => world
                .nodes
                .iter()
                .rposition(|node| node.kind == MemberKind::Data && Some(&node.name) != primary),
            name => {
                let given = self.names.get(name).copied();
                given.or_else(|| {
                    world
                        .nodes
                        .iter()
                        .position(|node| node.name.as_str() == name)
                })
            }
        };
        found.ok_or_else(|| {
            format!("`{who}` is nobody now: primary, replica, other, leader, a member's name, or one given by `let`")
        })
    }
}
