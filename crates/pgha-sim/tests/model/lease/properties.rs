//! What is promised in every state, asked of the same functions that the simulator asks.

use std::sync::LazyLock;

use pgha_core::gate::GateSetting;
use pgha_core::invariant::{self, GateView, StartView};
use pgha_core::lease::{Hold, Quorums};
use pgha_core::{Epoch, MemberName, RaftId};
use stateright::Property;

use crate::rules::Rules;

use super::LeaseModel;
use super::seen::{Fact, Observation};
use super::world::State;

static NAMES: LazyLock<[MemberName; 4]> =
    LazyLock::new(|| std::array::from_fn(|node| MemberName(format!("n{node}"))));

/// An open gate, and whose.
struct Gate {
    node: usize,
    member: &'static MemberName,
    setting: GateSetting,
}

impl LeaseModel {
    pub(super) fn all_properties() -> Vec<Property<Self>> {
        vec![
            Property::always("P1 one gate", |model: &Self, state: &State| {
                model.note(state);
                let gates = model.gates(state);
                invariant::one_gate(model.views(state, &gates)).is_ok()
            }),
            Property::always("P5 one promise at a time", |model: &Self, state: &State| {
                let gates = model.gates(state);
                let one = |gate: &Gate| {
                    let epoch = gate.setting.epoch;
                    invariant::one_promise(gate.member, epoch, model.views(state, &gates)).is_ok()
                };
                model.rights(state).count() < 2 && gates.iter().all(one)
            }),
            Property::always(
                "P5 granted by voters that adopted it",
                |model: &Self, state: &State| {
                    let adopted = |epoch: Epoch| {
                        move |id: RaftId| state.nodes[id.0 as usize].adopted >= epoch
                    };
                    model.rules == Rules::SilenceProves
                        || model.gates(state).into_iter().all(|gate| {
                            // What was granted by one membership is held on in the next one.
                            (0..=state.nodes[gate.node].membership).any(|membership| {
                                let quorums = Quorums::new(model.sets(membership));
                                quorums.reached(adopted(gate.setting.epoch))
                            })
                        })
                },
            ),
            Property::always("P6 epochs grow", |model: &Self, state: &State| {
                model.gates(state).iter().all(|gate| {
                    let start = StartView {
                        member: gate.member,
                        epoch: gate.setting.epoch,
                        lease_held: true,
                        adopted: state.nodes[gate.node].adopted,
                    };
                    gate.setting.epoch >= state.highest_held && invariant::start(&start).is_ok()
                })
            }),
        ]
    }

    /// Who serves writes, in which epoch, and until when.
    fn gates(&self, state: &State) -> Vec<Gate> {
        let now = self.now(state);
        let nodes = state.nodes.iter().enumerate();
        let open = nodes.filter_map(|(index, node)| {
            let mut holder = node.holder.clone()?;
            let (hold_at, close_at) = match holder.hold(now) {
                Hold::Held(deadlines) => (deadlines.hold, deadlines.close),
                _ if node.believes => (pgha_core::Mono::NEVER, pgha_core::Mono::NEVER),
                Hold::Collecting | Hold::Over => return None,
            };
            Some(Gate {
                node: index,
                member: &NAMES[index],
                setting: GateSetting {
                    epoch: holder.epoch(),
                    hold_at,
                    close_at,
                },
            })
        });
        open.collect()
    }

    fn views<'a>(
        &self,
        state: &State,
        gates: &'a [Gate],
    ) -> impl Iterator<Item = GateView<'a>> + use<'a> {
        let now = self.now(state);
        gates.iter().map(move |gate| GateView {
            member: gate.member,
            setting: gate.setting,
            now,
        })
    }

    /// Whose right to run a primary has not ended.
    fn rights(&self, state: &State) -> impl Iterator<Item = Epoch> {
        (0..self.nodes).filter_map(|index| self.right(state, index))
    }

    fn right(&self, state: &State, index: usize) -> Option<Epoch> {
        let node = &state.nodes[index];
        let holder = node.holder.as_ref()?;
        let now = self.now(state);
        let lasts = holder.deadlines().is_some_and(|at| now < at.end);
        (node.believes || lasts).then(|| holder.epoch())
    }

    /// The highest epoch that is held now.
    pub(super) fn held(&self, state: &State) -> Epoch {
        let gates = self.gates(state).into_iter();
        gates
            .map(|gate| gate.setting.epoch)
            .max()
            .unwrap_or(Epoch::NONE)
    }

    fn note(&self, state: &State) {
        if state.highest_held.0 == self.epochs {
            self.seen.note(Fact::LastEpochHeld);
        }
        self.seen.observe(|| self.observation(state));
    }

    fn observation(&self, state: &State) -> Observation {
        let mut nodes: Vec<_> = (0..self.nodes)
            .map(|index| (None, self.right(state, index)))
            .collect();
        for gate in self.gates(state) {
            nodes[gate.node].0 = Some(gate.setting.epoch);
        }
        (state.tick, state.newest(), state.restarts_left, nodes)
    }
}
