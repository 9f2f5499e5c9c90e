//! What a member tells the others about itself.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::command::Opened;
use crate::journal::{LostRange, Step};
use crate::lineage::Position;
use crate::{
    Addresses, Epoch, Lsn, Member, MemberKind, MemberName, Nonce, RaftId, Reason, StoreId,
    SystemIdentifier, TimelineId,
};

/// What a member's PostgreSQL is to applications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Serves writes.
    Primary,
    /// Replays another's WAL, or would.
    Replica,
    /// Has no PostgreSQL.
    Witness,
    /// Neither.
    #[default]
    None,
}

/// What a member is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// A primary with an open gate, or a witness.
    Running,
    /// A replica attached to the primary.
    Streaming,
    /// PostgreSQL or the member starts.
    #[default]
    Starting,
    /// Copies the data directory.
    Cloning,
    /// Rewinds the data directory.
    Rewinding,
    /// Becomes primary.
    Promoting,
    /// PostgreSQL stops.
    Stopping,
    /// PostgreSQL does not run.
    Stopped,
    /// Kept from serving writes.
    Fenced,
    /// Needs an operator.
    Failed,
    /// Does not answer.
    Unreachable,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Witness => "witness",
            Self::None => "none",
        })
    }
}

impl fmt::Display for MemberState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Streaming => "streaming",
            Self::Starting => "starting",
            Self::Cloning => "cloning",
            Self::Rewinding => "rewinding",
            Self::Promoting => "promoting",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Fenced => "fenced",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
        })
    }
}

/// A member's answer to a Revoke: given only when nothing can be received any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The epoch that the Revoke began, adopted on disk.
    pub epoch: Epoch,
    /// Raft index of the Revoke.
    pub index: u64,
    /// What the data directory holds.
    pub position: Position,
    /// The primary of the epoch that ended, with nothing lost.
    pub former_primary: bool,
    /// Whether its PostgreSQL runs: of a former primary, that it goes on without a stop.
    pub running: bool,
    /// WAL to replay at a restart, in bytes, where known.
    pub redo_bytes: Option<u64>,
    /// Whether the end of WAL was read from the files: of a former primary, that whoever has as much
    /// has everything.
    #[serde(default)]
    pub end_is_exact: bool,
}

/// What a member knows about the lease as a grantor.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GrantReport {
    /// The epoch that this is about.
    pub epoch: Epoch,
    /// The holder has not been heard for longer than it may serve.
    pub silent: bool,
    /// The holder proved that nothing of it is left.
    pub released: Option<ReleaseNote>,
    /// The highest flush position that the holder told.
    pub flush_lsn: Option<Lsn>,
    /// Whether that is all it ever told this voter, and nothing where it is nothing.
    #[serde(default)]
    pub remembers: bool,
    /// Whether this voter's newest promise is for it, over or not.
    #[serde(default)]
    pub promised: bool,
}

/// What came with a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseNote {
    /// What made the holder stop.
    pub why: String,
    /// End of WAL of a clean shutdown.
    pub shutdown_lsn: Option<Lsn>,
    /// seen, fenced, released.
    pub steps: Vec<Step>,
}

/// A physical replication slot on the primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotReport {
    /// Its name.
    pub name: String,
    /// The oldest WAL that it keeps; absent where it keeps none.
    pub restart_lsn: Option<Lsn>,
    /// WAL that it needs was removed.
    pub lost: bool,
}

/// Everything that a member tells about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberReport {
    /// Who.
    pub name: MemberName,
    /// Its place in the Raft group.
    pub raft_id: RaftId,
    /// Its store.
    pub store_id: StoreId,
    /// Of the process.
    pub nonce: Nonce,
    /// Data or witness.
    pub kind: MemberKind,
    /// Where it is reached.
    pub addresses: Addresses,
    /// The highest epoch on its disk.
    pub adopted: Epoch,
    /// How far its state machine is.
    pub applied_index: u64,
    /// How often its Raft store was written, durably. It never gets less, unless an old copy of the store
    /// was put back (faults 52).
    #[serde(default)]
    pub store_sequence: u64,
    /// What its PostgreSQL is.
    pub role: Role,
    /// What it does.
    pub state: MemberState,
    /// Why.
    pub reason: Option<Reason>,
    /// A sentence with numbers.
    pub detail: Option<String>,
    /// Its timeline.
    pub timeline: Option<TimelineId>,
    /// WAL on its disk; of a primary the current position.
    pub received: Option<Lsn>,
    /// WAL replayed; of a primary the current position.
    pub replayed: Option<Lsn>,
    /// Of its data directory, where there is a usable one.
    pub system_identifier: Option<SystemIdentifier>,
    /// Its answer to the last Revoke.
    pub standing: Option<Standing>,
    /// The epoch for which its gate is open.
    pub gate_open: Option<Epoch>,
    /// What it knows as a grantor.
    pub grant: GrantReport,
    /// What its promotion came to.
    pub opened: Option<Opened>,
    /// A primary: the timeline of its last checkpoint.
    pub checkpointed: Option<TimelineId>,
    /// A primary: its slots.
    pub slots: Vec<SlotReport>,
    /// What it found to be lost with this epoch.
    pub lost: Option<(Epoch, LostRange)>,
    /// It was asked to stop.
    pub shutting_down: bool,
    /// PostgreSQL parameters that wait for a restart.
    pub restart_pending: Vec<String>,
    /// Whose data it is copying.
    #[serde(default)]
    pub clones_from: Option<MemberName>,
}

impl MemberReport {
    /// A process of this member that has just begun, and knows of nothing yet.
    pub fn begun(name: MemberName, member: &Member, nonce: Nonce) -> Self {
        Self {
            name,
            raft_id: member.raft_id,
            store_id: member.store_id.clone(),
            nonce,
            kind: member.kind,
            addresses: member.addresses.clone(),
            adopted: Epoch::NONE,
            applied_index: 0,
            store_sequence: 0,
            role: Role::None,
            state: MemberState::Starting,
            reason: None,
            detail: None,
            timeline: None,
            received: None,
            replayed: None,
            system_identifier: None,
            standing: None,
            gate_open: None,
            grant: GrantReport::default(),
            opened: None,
            checkpointed: None,
            slots: Vec::new(),
            lost: None,
            shutting_down: false,
            restart_pending: Vec::new(),
            clones_from: None,
        }
    }
}
