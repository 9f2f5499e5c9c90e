//! P2, as far as it can be judged before synchronous modes are there: commits wait for standbys as a user
//! may configure it, are let go as [`pgha_core::sync`] says that PostgreSQL does, and where its rule calls a
//! promotion safe nothing of them may be missing. The election does not ask that rule yet.

use pgha_core::invariant;
use pgha_core::journal::{Evidence, JournalEntry};
use pgha_core::sync::{InForce, Method, SyncSet, Walsender, released_by};
use pgha_core::{Lsn, MemberName, StartKind};

use crate::mutant::Mutant;
use crate::world::{Shape, World};

/// Whom commits wait for in this run: everybody in every second of them, else for some. Not drawn, so
/// that everything else of the seed is the same.
pub(crate) fn drawn(
    seed: u64,
    shape: Shape,
    names: Vec<MemberName>,
) -> Option<SyncSet<MemberName>> {
    let others = shape.data.saturating_sub(1);
    let count = match (seed / 2).checked_rem(others.saturating_sub(1) as u64) {
        Some(some) if seed % 2 == 1 => some as usize + 1,
        Some(_) | None => others,
    };
    let method = match seed / 8 % 2 {
        0 => Method::Quorum,
        _ => Method::Priority,
    };
    SyncSet::new(names, count, method)
        .ok()
        .filter(|set| set.count() > 0)
}

impl World {
    /// Whether every other data member has what is acknowledged.
    pub(crate) fn waits_for_all(&self) -> bool {
        let others = |set: &SyncSet<MemberName>| set.count() + 1 == set.names().len();
        self.synchronous.as_ref().is_some_and(others)
    }

    /// Whether the walsenders of this PostgreSQL have let a commit go that ends here.
    pub(crate) fn is_let_go(&self, node: usize, end: Lsn) -> bool {
        let Some(set) = &self.synchronous else {
            return true;
        };
        let id = self.nodes[node].postgres.as_ref().map(|p| p.id);
        let mut walsenders = Vec::new();
        for standby in &self.nodes {
            let receiver = standby.postgres.as_ref().and_then(|p| p.receiver.as_ref());
            let streams = receiver.is_some_and(|r| r.from == node && r.attached == id);
            if let Some(data) = standby.disk.data.as_ref().filter(|_| streams) {
                walsenders.push(Walsender {
                    standby: &standby.name,
                    set,
                    flushed: data.end(),
                });
            }
        }
        if self.is(Mutant::LetGoByOne) {
            return walsenders.iter().any(|one| one.flushed >= end);
        }
        let mut judges = (0..walsenders.len()).filter_map(|one| released_by(one, &walsenders));
        judges.any(|released| released >= end)
    }

    /// A primary opens without so many acknowledged writes that its predecessor had.
    pub(crate) fn check_sync_rule(&mut self, entry: &JournalEntry, lost: usize) {
        let Some(set) = &self.synchronous else {
            return;
        };
        let in_force = InForce::settled(set.clone());
        let fit = |e: &Evidence| e.refused.is_none();
        let asks_standbys = !entry.evidence.iter().any(|e| fit(e) && e.former_primary);
        if entry.kind == Some(StartKind::Promotion) && asks_standbys {
            self.count(match invariant::allowed_by_sync(entry, &in_force) {
                false => "promotion that the synchronous rule refuses",
                true => "promotion that the synchronous rule allows",
            });
        }
        self.check(invariant::synchronous_kept(entry, &in_force, lost));
    }

    /// When a PostgreSQL accepts connections: whether a restart, a clone or a rewind cost it anything.
    pub(crate) fn check_synchronous(&mut self, node: usize) {
        // That switch is there to prove the judgement of openings, which this would forestall.
        let all = self.waits_for_all() && !self.is(Mutant::LetGoByOne);
        let n = &self.nodes[node];
        let Some(data) = n.disk.data.as_ref().filter(|_| all) else {
            return;
        };
        let has = |index: usize, chain: u64| data.wal.get(index).is_some_and(|r| r.chain == chain);
        let writes = self.acknowledged.iter();
        let lost = writes.filter(|w| !has(w.index, w.chain)).count();
        let member = n.name.clone();
        self.count("synchronous data judged");
        self.check(invariant::synchronous_kept_by(&member, lost));
    }
}
