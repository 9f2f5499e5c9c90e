//! P1 and P5: one gate, one promise at a time.

use super::Violation;
use crate::gate::GateSetting;
use crate::{Epoch, MemberName, Mono};

/// A gate and the reading of its own member's clock.
#[derive(Clone, Debug)]
pub struct GateView<'a> {
    /// Whose.
    pub member: &'a MemberName,
    /// What it is set to.
    pub setting: GateSetting,
    /// That member's clock, read at the same instant as everybody else's.
    pub now: Mono,
}

impl GateView<'_> {
    /// Whether a byte may pass.
    pub fn is_open(&self) -> bool {
        self.setting.epoch > Epoch::NONE && self.setting.may_pass(self.setting.epoch, self.now)
    }
}

/// P1: at most one member's gate is open.
pub fn one_gate<'a>(gates: impl IntoIterator<Item = GateView<'a>>) -> Result<(), Violation> {
    let mut open = gates.into_iter().filter(GateView::is_open);
    let (Some(first), Some(second)) = (open.next(), open.next()) else {
        return Ok(());
    };
    Err(Violation::TwoGates {
        first: first.member.clone(),
        first_epoch: first.setting.epoch,
        second: second.member.clone(),
        second_epoch: second.setting.epoch,
    })
}

/// P5: while a quorum has granted `held` to `holder`, nobody else's gate is open for an earlier one.
pub fn one_promise<'a>(
    holder: &MemberName,
    held: Epoch,
    gates: impl IntoIterator<Item = GateView<'a>>,
) -> Result<(), Violation> {
    gates
        .into_iter()
        .find(|gate| gate.member != holder && gate.setting.epoch < held && gate.is_open())
        .map_or(Ok(()), |gate| {
            Err(Violation::TwoPromises {
                holder: holder.clone(),
                held,
                other: gate.member.clone(),
                does: "has its gate open",
                epoch: gate.setting.epoch,
            })
        })
}
