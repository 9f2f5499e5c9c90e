//! What a member loses when it comes back to the line.

use super::{Lineage, Position, Verdict};
use crate::journal::LostRange;
use crate::{Epoch, TimelineId};

impl Lineage {
    /// What a position has beyond the line that ends in `target`, and the epoch that the line left it
    /// with: to be told before it is given up.
    pub fn given_up(&self, position: &Position, target: TimelineId) -> Option<(Epoch, LostRange)> {
        let at = match self.judge(position, target) {
            Verdict::Diverged { at } => at,
            Verdict::OnLine => return None,
            Verdict::Impostor { .. } => return self.given_up(&self.before(position)?, target),
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

    /// Where a promotion left its parent that died before it stored its row, so that nobody wrote on
    /// the timeline: what it had before is on the parent.
    fn before(&self, position: &Position) -> Option<Position> {
        let fork = self.forks.get(&position.timeline)?;
        let proves_itself = position.fork_ids.contains_key(&position.timeline);
        (!proves_itself && fork.parent < position.timeline).then(|| Position {
            timeline: fork.parent,
            end: fork.fork_lsn.min(position.end),
            fork_ids: position.fork_ids.clone(),
        })
    }
}
