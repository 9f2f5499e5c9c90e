//! Carries orders out.

use std::collections::BTreeMap;

use pgha_core::command::Revoke;
use pgha_core::decide::StopMode;
use pgha_core::journal::Cause;
use pgha_core::{Command, MemberKind};

use crate::event::NodeEvent;
use crate::fault::Mend;
use crate::script::order::{Goal, Order, Part, Who};
use crate::time::{MS, Nanos, SECOND};
use crate::world::{Shape, World};

const FORMED_WITHIN: Nanos = 60 * SECOND;
/// For a switchover.
const HANDOVER_MS: u64 = 10_000;

/// A world with the names that a script gave.
pub(super) struct Stage {
    world: World,
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
    pub(super) fn carry_out(&mut self, order: Order) -> Result<Vec<String>, String> {
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

    fn act(&mut self, order: Order) -> Result<Vec<String>, String> {
        match order {
            Order::Let(name, who) => {
                let node = self.who(&who)?;
                self.names.insert(name, node);
                return Ok(vec![self.world.nodes[node].name.to_string()]);
            }
            Order::Form => {
                let mut told = self.until(&Goal::Whole, FORMED_WITHIN)?;
                self.world.chronicle = Some(Vec::new());
                let primary = self
                    .world
                    .truth
                    .primary()
                    .map(|record| record.node.to_string());
                told.extend(primary.map(|name| format!("{name} is primary")));
                return Ok(told);
            }
            Order::Run(span) => self.run(span),
            Order::Until(goal, span) => return self.until(&goal, span),
            Order::Kill(part, who) => {
                let node = self.who(&who)?;
                self.kill(part, node);
            }
            Order::Freeze(part, who) => {
                let node = self.who(&who)?;
                self.world.freeze(node, part == Part::Node);
            }
            Order::Start(who) => {
                let node = self.who(&who)?;
                let n = &self.world.nodes[node];
                match (n.up, &n.sidecar) {
                    (false, _) => self.world.mend(Mend::Boot(node)),
                    (true, None) => self.world.sidecar_in(node, MS, NodeEvent::SidecarStarts),
                    (true, Some(_)) => return Ok(vec![format!("{who} runs already")]),
                }
            }
            Order::Thaw(who) => {
                let node = self.who(&who)?;
                self.world.mend(Mend::Node(node));
                self.world.mend(Mend::Sidecar(node));
            }
            Order::Join => self.world.cut.iter_mut().for_each(|row| row.fill(false)),
            Order::CutOneWay(from, to) => {
                let (from, to) = (self.who(&from)?, self.who(&to)?);
                self.world.cut[from][to] = true;
            }
            Order::Cut(one, other) => {
                let (one, other) = (self.who(&one)?, self.who(&other)?);
                self.cut(one, other);
            }
            Order::CutOff(who) => {
                let node = self.who(&who)?;
                (0..self.world.nodes.len()).for_each(|other| self.cut(node, other));
            }
            Order::Heal => self.world.heal(),
            Order::Writes => return Ok(vec![self.writes()]),
            other => return self.operate(other),
        }
        Ok(Vec::new())
    }

    /// What people do to PostgreSQL, and what they order.
    fn operate(&mut self, order: Order) -> Result<Vec<String>, String> {
        match order {
            Order::Wipe(who) => {
                let node = self.who(&who)?;
                self.world.wipe(node, false);
            }
            Order::RemoveData(who) => {
                let node = self.who(&who)?;
                if !self.world.remove_data(node) {
                    return Err(format!("{who} is no primary with a sidecar"));
                }
            }
            Order::PromoteByHand(who) => {
                let node = self.who(&who)?;
                self.world.promote_by_hand(node);
            }
            Order::PromoteTwin => self.world.by_hand_meanwhile = true,
            Order::Hang(who) => {
                let node = self.who(&who)?;
                self.world.hang(node);
            }
            Order::Answer(who) => {
                let node = self.who(&who)?;
                if let Some(id) = self.world.nodes[node].postgres.as_ref().map(|p| p.id) {
                    self.world.unhang(node, id);
                }
            }
            Order::RecoverQuorum(who) => {
                let node = self.who(&who)?;
                let refused = self.world.recover_quorum(node).err();
                return Ok(refused
                    .map(|why| format!("refused: {why}"))
                    .into_iter()
                    .collect());
            }
            Order::Lead(who) => self.world.raft.transfer = Some(self.who(&who)?),
            Order::Switchover(to) => {
                let target = to.map(|who| self.who(&who)).transpose()?;
                let target = target.map(|node| self.world.nodes[node].name.clone());
                return Ok(self.propose(|world, _| Command::Handover {
                    epoch: world.truth.epoch,
                    target,
                    deadline_ms: HANDOVER_MS,
                }));
            }
            Order::Failover {
                to,
                allow_data_loss,
            } => {
                let node = self.who(&to)?;
                let target = self.world.nodes[node].name.clone();
                return Ok(self.propose(|world, leader| {
                    Command::Revoke(Revoke {
                        expected: world.truth.epoch,
                        cause: Cause::OperatorFailover {
                            target,
                            allow_data_loss,
                        },
                        leader: world.nodes[leader].name.clone(),
                        at: String::new(),
                        steps: Vec::new(),
                    })
                }));
            }
            Order::Set(key, value) => {
                return Ok(self.propose(|world, _| Command::SetSettings {
                    expected_version: world.truth.settings.version,
                    set: BTreeMap::from([(key, value)]),
                    unset: Vec::new(),
                }));
            }
            _ => {}
        }
        Ok(Vec::new())
    }

    fn propose(&mut self, command: impl FnOnce(&World, usize) -> Command) -> Vec<String> {
        let world = &mut self.world;
        let Some(leader) = world.raft.leader.filter(|leader| world.has_quorum(*leader)) else {
            return vec!["not taken: no raft leader has a quorum".to_owned()];
        };
        let command = command(world, leader);
        world.propose(leader, command);
        Vec::new()
    }

    fn kill(&mut self, part: Part, node: usize) {
        match part {
            Part::Node => self.world.die(node, true),
            Part::Sidecar => self.world.die(node, false),
            Part::Guard => self.world.guard_dies(node),
            Part::Postgres => self
                .world
                .signal(node, StopMode::Kill, "killed by somebody"),
        }
    }

    fn cut(&mut self, one: usize, other: usize) {
        if one != other {
            self.world.cut[one][other] = true;
            self.world.cut[other][one] = true;
        }
    }

    fn run(&mut self, span: Nanos) {
        let end = self.world.now + span;
        while self.world.now < end && self.world.failure.is_none() {
            self.world.step();
        }
    }

    fn until(&mut self, goal: &Goal, span: Nanos) -> Result<Vec<String>, String> {
        let goal = match goal {
            Goal::Gone(who) => {
                let node = self.who(who)?;
                Goal::Gone(self.world.nodes[node].name.to_string())
            }
            other => other.clone(),
        };
        let end = self.world.now + span;
        while !self.is_reached(&goal) {
            if self.world.now >= end || self.world.failure.is_some() {
                return Ok(vec!["NOT IN TIME".to_owned()]);
            }
            self.world.step();
        }
        Ok(Vec::new())
    }

    fn is_reached(&self, goal: &Goal) -> bool {
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
            Goal::Gone(name) => world
                .nodes
                .iter()
                .any(|node| node.name.as_str() == name && node.postgres.is_none()),
        }
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

    fn who(&self, who: &Who) -> Result<usize, String> {
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
