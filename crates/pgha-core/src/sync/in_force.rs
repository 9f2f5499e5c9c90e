//! What is in force: one set, or more while a change goes through.

use std::collections::BTreeSet;

use super::set::SyncSet;
use super::walsender::Walsender;
use crate::Lsn;

/// The set by which commits may be acknowledged, and during a change those before it too.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InForce<N> {
    before: Vec<SyncSet<N>>,
    newest: SyncSet<N>,
}

/// The change is larger than a step, or another one is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a change of the synchronous standbys is under way, or this one changes more than one thing: \
     go step by step"
)]
pub struct NotOneStep;

impl<N: Ord + Clone> InForce<N> {
    /// One set, on which every walsender acts.
    pub const fn settled(set: SyncSet<N>) -> Self {
        Self {
            before: Vec::new(),
            newest: set,
        }
    }

    /// After a change of primary: commits of the old one went by all that was in force, those of the new
    /// one go by `to`, until the promotion point is safe by [`InForce::is_done`] too.
    ///
    /// The primary may be lost in the middle of a step, and the next one before its promotion point is
    /// safe. So there may be more than two sets.
    pub fn at_change_of_primary(&self, to: SyncSet<N>) -> Self {
        let mut before = self.before.clone();
        if !before.contains(&self.newest) {
            before.push(self.newest.clone());
        }
        Self { before, newest: to }
    }

    /// Begins a step. It is committed before PostgreSQL hears of it.
    pub fn begin(&self, to: SyncSet<N>) -> Result<Self, NotOneStep> {
        if !self.before.is_empty() || !to.is_one_step_from(&self.newest) {
            return Err(NotOneStep);
        }
        Ok(Self {
            before: vec![self.newest.clone()],
            newest: to,
        })
    }

    /// The newest set: what PostgreSQL is to be told.
    pub const fn newest(&self) -> &SyncSet<N> {
        &self.newest
    }

    /// The step is over. Only after [`InForce::is_done`].
    pub fn done(&self) -> Self {
        Self::settled(self.newest.clone())
    }

    /// Whether the step may end: every walsender acts on the newest set, and as many members of that as a
    /// commit waits for have flushed `written`, the end of the primary's WAL read *after* they all did.
    ///
    /// The second half is what the commits of before need. One that was acknowledged by standbys of the
    /// old set may be on none of the new one, and a promotion that asks only the new one would lose it.
    pub fn is_done(&self, walsenders: &[Walsender<'_, N>], written: Lsn) -> bool {
        let newest = &self.newest;
        let acts = walsenders.iter().all(|one| one.set == newest);
        let has = |one: &&Walsender<'_, N>| newest.lists(one.standby) && one.flushed >= written;
        acts && walsenders.iter().filter(has).count() >= newest.count()
    }

    /// Everybody whose confirmation may have counted for a commit.
    pub fn names(&self) -> BTreeSet<&N> {
        self.sets().flat_map(SyncSet::names).collect()
    }

    /// How many of them have every acknowledged commit, at the least.
    pub fn count(&self) -> usize {
        let counts = self.sets().map(SyncSet::count);
        counts.min().unwrap_or_default()
    }

    fn sets(&self) -> impl Iterator<Item = &SyncSet<N>> {
        self.before.iter().chain([&self.newest])
    }

    /// How many of [`InForce::names`] have to report before the best of them is certain to have every
    /// acknowledged commit. `None`: commits waited for nobody, so no number of reports is enough.
    ///
    /// Enough of each set is not the same where names and count differ at once: a walsender with the one
    /// set's low count counts standbys that only the other lists, by what their walsenders say, and so
    /// many of both sets may know nothing of its commit.
    pub fn reports_needed(&self) -> Option<usize> {
        let count = self.count();
        (count > 0).then(|| self.names().len() - count + 1)
    }
}
