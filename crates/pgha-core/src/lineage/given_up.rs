//! What a member loses when it comes back to the line.

use super::{Lineage, Position, Verdict};
use crate::journal::LostRange;
use crate::{Epoch, TimelineId};

impl Lineage {
    /// What a position has beyond the line that ends in `target`, and the epoch that the line left it
    /// with: to be told before it is given up.
    pub fn given_up(&self, position: &Position, target: TimelineId) -> Option<(Epoch, LostRange)> {
        let Verdict::Diverged { at } = self.judge(position, target) else {
            return None;
        };
        let path = self.path_to(target)?;
        let own = self.path_to(position.timeline)?;
        let on_path = |timeline: &TimelineId| path.iter().any(|(t, _)| t == timeline);
        let common = own.iter().rev().map(|(t, _)| *t).find(on_path)?;
        let next = path.iter().map(|(t, _)| *t).find(|t| *t > common)?;
        let epoch = self.forks.get(&next)?.epoch;
        let range = LostRange {
            from: at,
            to: position.end,
            is_final: true,
        };
        (range.bytes() > 0).then_some((epoch, range))
    }
}
