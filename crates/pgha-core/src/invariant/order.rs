//! P6 and P9: what grows, and who may vote.

use super::Violation;
use crate::{ClusterState, Epoch, MemberName, RaftId};

/// P6: between two states of one member's state machine epochs grow, and a timeline that was
/// assigned keeps its parent and its fork id.
pub fn order(before: &ClusterState, after: &ClusterState) -> Result<(), Violation> {
    let broken = |why: String| Err(Violation::Order(why));
    if after.epoch < before.epoch {
        return broken(format!("epoch {} after {}", after.epoch, before.epoch));
    }
    if after.lineage.highest < before.lineage.highest {
        let (was, is) = (before.lineage.highest, after.lineage.highest);
        return broken(format!("highest timeline {is} after {was}"));
    }
    for (timeline, fork) in &after.lineage.forks {
        match before.lineage.forks.get(timeline) {
            Some(was) if was.fork_id != fork.fork_id || was.parent != fork.parent => {
                return broken(format!("timeline {timeline} was assigned twice"));
            }
            None if *timeline <= before.lineage.highest => {
                return broken(format!("timeline {timeline} was assigned late"));
            }
            Some(_) | None => {}
        }
    }
    Ok(())
}

/// How a PostgreSQL is about to become primary.
#[derive(Clone, Debug)]
pub struct StartView<'a> {
    /// Who.
    pub member: &'a MemberName,
    /// For which epoch.
    pub epoch: Epoch,
    /// Whether the lease of that epoch is held right now.
    pub lease_held: bool,
    /// The highest epoch on its disk.
    pub adopted: Epoch,
}

/// P6: no PostgreSQL is started as primary or promoted without a held lease of its epoch, nor below
/// an epoch that its member adopted.
pub fn start(view: &StartView<'_>) -> Result<(), Violation> {
    let why = if !view.lease_held {
        "its lease is not held".to_owned()
    } else if view.epoch < view.adopted {
        format!("it adopted epoch {}", view.adopted)
    } else {
        return Ok(());
    };
    Err(Violation::Start {
        member: view.member.clone(),
        epoch: view.epoch,
        why,
    })
}

/// P9: nobody votes by an id that was ruled out when the quorum was recovered.
pub fn quorum<'a>(
    state: &ClusterState,
    voters: impl IntoIterator<Item = &'a RaftId>,
) -> Result<(), Violation> {
    let mut voters = voters.into_iter();
    match voters.find(|id| state.ruled_out.contains(id)) {
        Some(raft_id) => Err(Violation::RuledOutVotes {
            raft_id: *raft_id,
            generation: state.generation,
        }),
        None => Ok(()),
    }
}
