//! What can be asked for, and why it is refused.

use std::collections::BTreeSet;
use std::time::Duration;

use pgha_core::RaftId;

use super::VOTERS_MAX;
use crate::propose::ProposeError;
use crate::types::Peer;

/// One change of the membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembershipChange {
    /// A new member that follows without a vote.
    AddLearner(RaftId, Peer),
    /// A learner gets a vote, once it has the log.
    Promote(RaftId),
    /// The second, which is new or a learner, takes the place of the first, once it has the log:
    /// the way back of a member that lost its store.
    Replace {
        /// Leaves; its id is never used again.
        old: RaftId,
        /// Comes in its place.
        new: RaftId,
        /// Who that is.
        peer: Peer,
    },
    /// Leaves, voter or learner.
    Remove(RaftId),
}

/// Why a change was refused, or is not known to be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// This member does not lead, has no quorum, or does not know the outcome.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// No such member.
    #[error("Raft id {0} is no member")]
    NotMember(RaftId),
    /// Taken by another store: ids are never used again.
    #[error("Raft id {0} belongs to another store already")]
    IdTaken(RaftId),
    /// A leader that leaves would take its own majority with it.
    #[error("Raft id {0} leads: move the lead to another voter first")]
    IsLeader(RaftId),
    /// As many as there may be.
    #[error("there are {VOTERS_MAX} voters already, remove one first")]
    TooManyVoters,
    /// Of the voters that would be left too few are alive.
    #[error("of the voters {voters:?} that it leaves only {alive:?} answer, that is no majority")]
    LosesQuorum {
        /// Who would vote afterwards.
        voters: BTreeSet<RaftId>,
        /// Who of them answered within the lease.
        alive: BTreeSet<RaftId>,
    },
    /// The new voter is still behind. It stays a learner and goes on catching up.
    #[error("Raft id {id} did not get the log within {waited:?}; it goes on as a learner")]
    Behind {
        /// Who.
        id: RaftId,
        /// How long was waited.
        waited: Duration,
    },
    /// Another change is not committed yet.
    #[error("another change of the membership is not committed yet: {0}")]
    InProgress(String),
}
