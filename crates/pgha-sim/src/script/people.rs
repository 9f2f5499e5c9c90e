//! What people do to PostgreSQL, and what they order.

use std::collections::BTreeMap;

use pgha_core::Command;
use pgha_core::command::Revoke;
use pgha_core::journal::Cause;

use crate::script::order::{Order, Who};
use crate::script::play::{Stage, Told};
use crate::world::World;

/// For a switchover.
const HANDOVER_MS: u64 = 10_000;

impl Stage {
    pub(super) fn operate(&mut self, order: Order) -> Told {
        match order {
            Order::PromoteByHand(who) => {
                let node = self.who(&who)?;
                self.world.promote_by_hand(node);
            }
            Order::PromoteTwin => self.world.by_hand_meanwhile = true,
            Order::RecoverQuorum(who) => {
                let node = self.who(&who)?;
                let refused = self.world.recover_quorum(node).err();
                return Ok(refused
                    .map(|why| format!("refused: {why}"))
                    .into_iter()
                    .collect());
            }
            Order::Lead(who) => self.world.raft.transfer = Some(self.who(&who)?),
            Order::Switchover(to) => return self.switch(to.as_ref()),
            Order::Failover {
                to,
                allow_data_loss,
            } => return self.fail_over(&to, allow_data_loss),
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

    fn switch(&mut self, to: Option<&Who>) -> Told {
        let target = to.map(|who| self.who(who)).transpose()?;
        let target = target.map(|node| self.world.nodes[node].name.clone());
        Ok(self.propose(|world, _| Command::Handover {
            epoch: world.truth.epoch,
            target,
            deadline_ms: HANDOVER_MS,
        }))
    }

    fn fail_over(&mut self, to: &Who, allow_data_loss: bool) -> Told {
        let node = self.who(to)?;
        let target = self.world.nodes[node].name.clone();
        Ok(self.propose(|world, leader| {
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
        }))
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
}
