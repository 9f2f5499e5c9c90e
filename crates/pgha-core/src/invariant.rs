//! What pgha promises, as functions over plain views: the simulator asks them after every step, and
//! anything else that can see the same facts may ask them too.

mod bound;
mod data;
mod gates;
mod loss;
mod order;
mod promotion;
mod quiet;

use std::time::Duration;

use crate::{Epoch, Generation, Lsn, MemberName, RaftId};

pub use bound::{LossBound, loss_bounded};
pub use data::{one_history, started_whole};
pub use gates::{GateView, one_gate, one_promise};
pub use loss::{MissingWrite, kept_in_place, loss_reported};
pub use order::{StartView, order, quorum, start};
pub use promotion::{allowed_by_sync, promoted, synchronous_kept, synchronous_kept_by};
pub use quiet::{no_endless_wait, role_kept};

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
    /// P2.
    #[error(
        "P2 synchronous: epoch {epoch} opens without {lost} writes that standbys had confirmed"
    )]
    SynchronousLoss {
        /// Which epoch.
        epoch: Epoch,
        /// How many.
        lost: usize,
    },
    /// P2.
    #[error(
        "P2 synchronous: {member} accepts connections without {lost} writes that every data member had flushed"
    )]
    SynchronousDataLost {
        /// Who.
        member: MemberName,
        /// How many.
        lost: usize,
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
    /// P10.
    #[error("P10 wait: {what}, for {waited:?}; {most:?} is the most that it may last")]
    EndlessWait {
        /// What is waited for, and why it has not come.
        what: String,
        /// For so long.
        waited: Duration,
        /// No longer than this.
        most: Duration,
    },
    /// P11.
    #[error("P11 role: epoch {epoch} began although nothing was taken from the primary")]
    RoleChanged {
        /// Which epoch.
        epoch: Epoch,
    },
}
