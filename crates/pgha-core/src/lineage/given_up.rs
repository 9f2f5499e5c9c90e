//! What a member loses when it comes back to the line.

use super::{Lineage, Position, Verdict};
use crate::journal::LostRange;
use crate::{Epoch, TimelineId};

impl Lineage {
    /// What a position has beyond the line that ends in `target`, and the epoch that the line left it
    /// with: to be told before it is given up.
    pub fn given_up(&self, position: &Position, target: TimelineId) -> Option<(Epoch, LostRange)> {
        let at = match self.judge(position, target) {
            Verdict::OnLine => return None,
            Verdict::Diverged { at } if self.path_to(position.timeline).is_some() => at,
            Verdict::Diverged { .. } | Verdict::Impostor { .. } => {
                return self.given_up(&self.before(position)?, target);
            }
        };
        let path = self.path_to(target)?;
        let own = self.path_to(position.timeline)?;
        let on_path = |timeline: &TimelineId| path.iter().any(|(t, _)| t == timeline);
        let common = own.iter().rev().map(|(t, _)| *t).find(on_path)?;
        // An operator may have gone back to a line that was left before this one began: it was not
        // given up then.
        let began = self.forks.get(&position.timeline).map(|fork| fork.epoch);
        let forks = path.iter().filter(|(timeline, _)| *timeline > common);
        let mut epochs = forks.filter_map(|(timeline, _)| Some(self.forks.get(timeline)?.epoch));
        let epoch = epochs.find(|epoch| began.is_none_or(|began| *epoch > began))?;
        let range = LostRange {
            from: at,
            to: position.end,
            is_final: true,
        };
        (range.bytes() > 0).then_some((epoch, range))
    }

    /// What it had before a promotion that cannot prove itself: by hand, perhaps to the very number
    /// that was assigned to somebody else meanwhile, or dead before its row was stored. It was nobody's
    /// primary there, and what it had as one is on the parent. Only its own history knows for certain
    /// where it left that.
    fn before(&self, position: &Position) -> Option<Position> {
        let mut left = position.left.clone();
        let (timeline, end) = match left.pop_last() {
            Some(parent) => parent,
            None => {
                let fork = self.forks.get(&position.timeline)?;
                let proves_itself = position.fork_ids.contains_key(&position.timeline);
                (!proves_itself).then_some((fork.parent, fork.fork_lsn.min(position.end)))?
            }
        };
        let mut fork_ids = position.fork_ids.clone();
        fork_ids.split_off(&position.timeline);
        (timeline < position.timeline).then_some(Position {
            timeline,
            end,
            fork_ids,
            left,
        })
    }
}
