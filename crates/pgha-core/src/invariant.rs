//! What pgha promises, as functions over plain views: the simulator asks them after every step, and
//! anything else that can see the same facts may ask them too.

mod bound;

use crate::gate::GateSetting;
use crate::journal::{Cause, Evidence, JournalEntry, LostRange};
use crate::{
    ClusterState, Epoch, Generation, Lsn, MemberName, Mono, RaftId, StartKind, TimelineId,
};

pub use bound::{LossBound, loss_bounded};

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// P1.
    #[error(
        "P1 one gate: the gates of {first} (epoch {first_epoch}) and {second} (epoch {second_epoch}) are open"
    )]
    TwoGates {
        /// One of them.
        first: MemberName,
        /// For which epoch.
        first_epoch: Epoch,
        /// The other.
        second: MemberName,
        /// For which epoch.
        second_epoch: Epoch,
    },
    /// P5.
    #[error(
        "P5 one promise: {holder} holds epoch {held} while {other} still {does} for epoch {epoch}"
    )]
    TwoPromises {
        /// Who holds the later lease.
        holder: MemberName,
        /// Its epoch.
        held: Epoch,
        /// Who has not let go.
        other: MemberName,
        /// What it still does.
        does: &'static str,
        /// For which epoch.
        epoch: Epoch,
    },
    /// P6.
    #[error("P6 epochs and timelines: {0}")]
    Order(String),
    /// P6.
    #[error("P6 start: {member} became primary of epoch {epoch}: {why}")]
    Start {
        /// Who.
        member: MemberName,
        /// For which epoch.
        epoch: Epoch,
        /// What was wrong.
        why: String,
    },
    /// P7.
    #[error(
        "P7 forks: {receiver} at {at} attached to {upstream}, whose history differs before that"
    )]
    Mixed {
        /// Whose data it is.
        receiver: MemberName,
        /// Where it is.
        at: Lsn,
        /// From whom it receives.
        upstream: MemberName,
    },
    /// P4.
    #[error("P4 promoted: epoch {epoch} named {node}: {why}")]
    Promoted {
        /// The epoch.
        epoch: Epoch,
        /// Who was named.
        node: MemberName,
        /// What was wrong.
        why: String,
    },
    /// P3.
    #[error(
        "P3 loss: the acknowledged write ending at {lsn} of epoch {written} is missing in epoch {epoch} and {journaled}"
    )]
    Unreported {
        /// End of the write.
        lsn: Lsn,
        /// The epoch that it was acknowledged in.
        written: Epoch,
        /// The epoch that does not have it.
        epoch: Epoch,
        /// What the journal says.
        journaled: String,
    },
    /// P3.
    #[error(
        "P3 bound: epoch {epoch} lost the acknowledged write ending at {lsn} of epoch {written}, {why}"
    )]
    LostTooMuch {
        /// The epoch that does not have it.
        epoch: Epoch,
        /// End of the write.
        lsn: Lsn,
        /// The epoch that it was acknowledged in.
        written: Epoch,
        /// What it is too far from.
        why: String,
    },
    /// A restart, reinstatement or switchover loses nothing.
    #[error(
        "no loss without a failover: epoch {epoch} ({how}) lost the acknowledged write ending at {lsn}"
    )]
    LostInPlace {
        /// The epoch.
        epoch: Epoch,
        /// How it began.
        how: String,
        /// End of the write.
        lsn: Lsn,
    },
    /// P9.
    #[error("P9 quorum: raft id {raft_id} was ruled out by generation {generation} and votes")]
    RuledOutVotes {
        /// Whose vote it was.
        raft_id: RaftId,
        /// The generation that goes on without it.
        generation: Generation,
    },
    /// P8.
    #[error(
        "P8 marker: {member} started PostgreSQL on data that a clone or rewind has not finished"
    )]
    Marker {
        /// Who.
        member: MemberName,
    },
}

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

/// P4: whoever an automatic election promoted was fit, and no fit reporter was ahead. `target` is the
/// one an operator asked for.
pub fn promoted(entry: &JournalEntry, target: Option<&MemberName>) -> Result<(), Violation> {
    let (Some(node), Some(StartKind::Promotion)) = (&entry.primary, entry.kind) else {
        return Ok(());
    };
    let broken = |why: String| {
        Err(Violation::Promoted {
            epoch: entry.epoch,
            node: node.clone(),
            why,
        })
    };
    let Some(own) = entry.evidence.iter().find(|e| e.member == *node) else {
        return broken("it did not report".to_owned());
    };
    let accepted = entry.cause.accepts_loss_for() == Some(node);
    if let Some(refused) = own.refused.as_ref().filter(|_| !accepted) {
        return broken(refused.clone());
    }
    let reach = |e: &Evidence| (e.timeline, e.end_of_wal);
    let ahead = |e: &&Evidence| e.refused.is_none() && !e.former_primary && reach(e) > reach(own);
    match entry.evidence.iter().find(ahead) {
        Some(better) if target != Some(node) => broken(format!(
            "{} reported {}, it only {}",
            better.member, better.end_of_wal, own.end_of_wal
        )),
        Some(_) | None => Ok(()),
    }
}

/// An acknowledged write that the cluster's line does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingWrite {
    /// End of its commit record.
    pub end: Lsn,
    /// The epoch that it was acknowledged in.
    pub written: Epoch,
    /// The timeline that it was written on.
    pub timeline: TimelineId,
    /// The first epoch that does not have it.
    pub epoch: Epoch,
}

/// P3: a missing write is in the range that the journal gives for the epoch that lost it. `final_only`
/// says that the old primary has been back, so that nothing but the whole range will do; otherwise it
/// is enough that the write is not below the range.
pub fn loss_reported(
    missing: &MissingWrite,
    journal: &[JournalEntry],
    final_only: bool,
) -> Result<(), Violation> {
    let covered = |range: LostRange| {
        missing.end > range.from && (missing.end <= range.to || (!final_only && !range.is_final))
    };
    let losing = journal.iter().find(|entry| entry.epoch == missing.epoch);
    let left_at = losing.and_then(|entry| entry.fork_lsn);
    let tells = |entry: &&JournalEntry| {
        // A primary that was named and never opened may have cost it; and the tail that two epochs do
        // without, from that point or before, is told for the later one.
        let before = entry.epoch <= missing.epoch;
        let same = entry
            .lost
            .is_some_and(|lost| left_at.is_none_or(|left| lost.from <= left));
        entry.epoch > missing.written && (before || same)
    };
    let told: Vec<_> = journal.iter().filter(tells).collect();
    let mut ranges = told.iter().filter_map(|entry| entry.lost);
    // Of an epoch after it that tells nothing it cannot be said that it tells of something else.
    let silent = !told
        .iter()
        .any(|entry| entry.lost.is_some() && entry.epoch <= missing.epoch);
    if ranges.clone().any(covered) || (silent && !final_only) {
        return Ok(());
    }
    let journaled = match ranges.next_back() {
        Some(range) => format!("the journal says {} to {}", range.from, range.to),
        None => "the journal says nothing".to_owned(),
    };
    Err(Violation::Unreported {
        lsn: missing.end,
        written: missing.written,
        epoch: missing.epoch,
        journaled,
    })
}

/// A restart, a reinstatement and a switchover lose no acknowledged write.
pub fn kept_in_place(entry: &JournalEntry, missing: &[MissingWrite]) -> Result<(), Violation> {
    let in_place = matches!(
        entry.kind,
        Some(StartKind::Restart | StartKind::Reinstatement)
    );
    // Where the old primary is not there any more, it is a failover after all.
    let planned =
        matches!(entry.cause, Cause::Switchover) && entry.evidence.iter().any(|e| e.former_primary);
    match missing.first() {
        Some(write) if in_place || planned => Err(Violation::LostInPlace {
            epoch: entry.epoch,
            how: format!("{:?} after {}", entry.kind, entry.cause.code()),
            lsn: write.end,
        }),
        Some(_) | None => Ok(()),
    }
}
