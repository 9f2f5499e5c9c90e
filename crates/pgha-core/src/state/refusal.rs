//! Why a committed command changed nothing.

use serde::{Deserialize, Serialize};

use crate::settings::SettingError;
use crate::{Epoch, MemberName, TimelineId};

/// What became of a command.
pub type Applied = Result<(), Refusal>;

/// Why a committed command changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The epoch moved on.
    #[error("epoch {expected} was expected, the cluster is at epoch {found}")]
    Epoch {
        /// What the command expected.
        expected: Epoch,
        /// What is.
        found: Epoch,
    },
    /// The epoch is not in a phase that takes this command.
    #[error("epoch {epoch} is past the point where {what} has a place")]
    Phase {
        /// The epoch.
        epoch: Epoch,
        /// The command.
        what: String,
    },
    /// The cluster was created already.
    #[error("the cluster exists already")]
    Exists,
    /// There is no such member, or it has no data.
    #[error("{0} is not a data member of this cluster")]
    NoSuchMember(MemberName),
    /// The timeline was assigned before.
    #[error("timeline {timeline} is not free: the highest so far is {highest}")]
    Timeline {
        /// The number asked for.
        timeline: TimelineId,
        /// The highest so far.
        highest: TimelineId,
    },
    /// The settings changed meanwhile.
    #[error("settings version {expected} was expected, the cluster is at version {found}")]
    SettingsVersion {
        /// What the command expected.
        expected: u64,
        /// What is.
        found: u64,
    },
    /// A setting is not valid.
    #[error(transparent)]
    Setting(SettingError),
    /// A raft id was used before, or the member is not what the command expected.
    #[error("member {name}: {why}")]
    Member {
        /// Who.
        name: MemberName,
        /// What is wrong.
        why: String,
    },
    /// A recovery that does not fit.
    #[error("the quorum cannot be recovered with {survivor} alone: {why}")]
    Recovery {
        /// Who was to go on.
        survivor: MemberName,
        /// What is wrong.
        why: String,
    },
    /// The journal has no such epoch.
    #[error("the journal has no epoch {0}")]
    NoSuchEpoch(Epoch),
}
