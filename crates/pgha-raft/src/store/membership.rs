//! The membership as the log has it, told before the entry that changes it can be acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openraft::EntryPayload;
use pgha_core::RaftId;
use pgha_proto::v1;
use tokio::sync::watch;

use super::image::Image;
use super::{Shared, SnapshotFile, Store};
use crate::types::{LogId, Membership, Peer, log_id_out};

/// The effective membership: the newest in the log, committed or not (Raft paper, section 6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogMembership {
    /// Its entry; none before the first one.
    pub log_id: Option<v1::LogId>,
    /// Its sets of voters: one, or two while a change is joint.
    pub voters: Vec<BTreeSet<RaftId>>,
    /// The sets of the membership before it, as far as the log goes back. Raft makes one change at a
    /// time, so this one was committed before the newest was written: whoever has not applied it yet
    /// knows here that it is.
    pub previous_voters: Vec<BTreeSet<RaftId>>,
    /// All its members.
    pub members: BTreeMap<RaftId, Peer>,
}

impl Store {
    /// The effective membership. An entry that changes it, or takes it back, is told here before it
    /// is queued for the disk, and answered only when it is on disk: nobody can know that this member
    /// has a membership before whoever watches here does, however slow the tasks of this process are.
    pub fn membership(&self) -> watch::Receiver<Arc<LogMembership>> {
        self.shared().membership.subscribe()
    }
}

impl Shared {
    /// To be called with each change of log or snapshot, before it is queued.
    pub(super) fn tell_membership(&self) {
        let new = of(&self.image, self.snapshot.as_deref());
        self.membership.send_if_modified(|told| {
            let news = **told != new;
            if news {
                *told = Arc::new(new);
            }
            news
        });
    }
}

/// What the log says, and for what is no longer in it the snapshot.
pub(super) fn of(image: &Image, snapshot: Option<&SnapshotFile>) -> LogMembership {
    let replaced = snapshot
        .map(|file| &file.meta.last_membership)
        .and_then(|stored| Some(((*stored.log_id())?, stored.membership())));
    let in_log = image
        .entries
        .values()
        .rev()
        .filter_map(|entry| match &entry.payload {
            EntryPayload::Membership(membership) => Some((entry.log_id, membership)),
            EntryPayload::Blank | EntryPayload::Normal(_) => None,
        })
        .take_while(|(id, _)| replaced.is_none_or(|(at, _)| id.index > at.index));
    let mut newest_first = in_log.chain(replaced);
    let Some((log_id, membership)) = newest_first.next() else {
        return LogMembership::default();
    };
    let previous: Option<(LogId, &Membership)> = newest_first.next();
    LogMembership {
        log_id: Some(log_id_out(&log_id)),
        voters: voters(membership),
        previous_voters: previous.map_or_else(Vec::new, |(_, membership)| voters(membership)),
        members: membership
            .nodes()
            .map(|(&id, peer)| (RaftId(id), peer.clone()))
            .collect(),
    }
}

fn voters(membership: &Membership) -> Vec<BTreeSet<RaftId>> {
    let sets = membership.get_joint_config().iter();
    sets.map(|set| set.iter().copied().map(RaftId).collect())
        .collect()
}
