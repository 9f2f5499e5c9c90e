//! The kinds of faults, by the names that the terminal knows.

use clap::ValueEnum;
use serde::Serialize;

use super::hands;
use crate::mount;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `kill -9` of a sidecar; started again later.
    SidecarKilled,
    /// `kill -9` of a guard.
    GuardKilled,
    /// `kill -9` of a postmaster.
    PostmasterKilled,
    /// `kill -9` of one backend.
    BackendKilled,
    /// `kill -9` of everything of a member; started again later.
    NodeKilled,
    /// `kill -9` of everything everywhere; started again later.
    AllKilled,
    /// SIGSTOP of a sidecar, SIGCONT later.
    SidecarFrozen,
    /// SIGSTOP of a guard, SIGCONT later.
    GuardFrozen,
    /// SIGSTOP of a postmaster, SIGCONT later.
    PostmasterFrozen,
    /// SIGSTOP of all processes of PostgreSQL, SIGCONT later.
    PostgresFrozen,
    /// SIGSTOP of everything of a member, SIGCONT later.
    NodeFrozen,
    /// SIGSTOP of everything everywhere, SIGCONT later.
    AllFrozen,
    /// A member hears nobody and is heard by nobody.
    HostCut,
    /// A member is heard by nobody.
    SendingCut,
    /// A member hears nobody.
    ReceivingCut,
    /// Two members do not hear each other.
    PairCut,
    /// A member's gRPC connections stand still: raft, leases, reports.
    RaftCut,
    /// A member's replication connections stand still.
    ReplicationCut,
    /// Nobody reaches a member's ports for clients.
    ClientCut,
    /// A member is cut off again and again, for less and more than a lease.
    FlappingCut,
    /// Some of a member's frames are lost.
    PacketLoss,
    /// Everything between a member and others comes late.
    Latency,
    /// Every flush of PostgreSQL fails.
    PostgresFsyncError,
    /// Every flush of PostgreSQL takes long.
    PostgresFsyncSlow,
    /// Every flush of a sidecar, of its Raft store that is, fails.
    StoreFsyncError,
    /// Every flush of a sidecar takes long.
    StoreFsyncSlow,
    /// No room for WAL.
    WalDiskFull,
    /// No room for data; WAL has some.
    DataDiskFull,
    /// No room for the Raft store.
    StoreDiskFull,
    /// Bytes of the Raft store are other ones after a power cut.
    StoreDamaged,
    /// The Raft store is gone after a power cut.
    StoreDeleted,
    /// The Raft store is an old copy of itself after a power cut.
    StoreRestored,
    /// The wall clock of everything of a member is set by hours, and back.
    WallClockStep,
    /// The wall clock of everything of a member runs too fast or too slow.
    WallClockRate,
    /// The copy of another member's data is killed in the middle.
    CloneInterrupted,
    /// A rewind is killed in the middle.
    RewindInterrupted,
    /// No fault: a switchover to whoever is chosen.
    Switchover,
    /// An operator promotes a replica by hand.
    PromotedByHand,
    /// An operator stops PostgreSQL by hand.
    StoppedByHand,
    /// The data directory is gone.
    DataRemoved,
    /// Several of the others at a time, and switchovers meanwhile.
    Mixed,
}

impl Kind {
    /// As the terminal and the results show it.
    pub fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Why it cannot be played here, if so. Namespaces are needed by all of them and looked for apart.
    pub fn obstacle(self) -> Option<String> {
        match self {
            Self::PostgresFsyncError
            | Self::PostgresFsyncSlow
            | Self::StoreFsyncError
            | Self::StoreFsyncSlow => hands::flush::obstacle(),
            Self::WallClockStep | Self::WallClockRate => hands::clock::obstacle(),
            Self::WalDiskFull | Self::DataDiskFull | Self::StoreDiskFull => mount::obstacle(),
            _ => None,
        }
    }

    /// Whether a member has to be made ready for it, so that it can strike no other.
    pub const fn is_prepared(self) -> bool {
        matches!(
            self,
            Self::WalDiskFull
                | Self::DataDiskFull
                | Self::StoreDiskFull
                | Self::WallClockStep
                | Self::WallClockRate
                | Self::Latency
        )
    }

    /// Whether no primary is to change for it (P11; the wall clock decides nothing): it takes neither the
    /// primary's lease nor its PostgreSQL.
    pub const fn changes_no_primary(self) -> bool {
        matches!(
            self,
            Self::WallClockStep
                | Self::WallClockRate
                | Self::StoreFsyncSlow
                | Self::ClientCut
                | Self::ReplicationCut
        )
    }

    /// Whether no acknowledged row may be lost for it: nobody serves who does not have everything.
    pub const fn loses_nothing(self) -> bool {
        self.changes_no_primary() || matches!(self, Self::Switchover)
    }

    /// Whether it stops processes that go on later, so that their answers come late.
    pub const fn freezes(self) -> bool {
        matches!(
            self,
            Self::SidecarFrozen
                | Self::GuardFrozen
                | Self::PostmasterFrozen
                | Self::PostgresFrozen
                | Self::NodeFrozen
                | Self::AllFrozen
        )
    }

    /// Whether it says nothing on a cluster that has had it before: a store that has grown once has
    /// room within its own files.
    pub const fn is_once(self) -> bool {
        matches!(self, Self::StoreDiskFull)
    }

    /// What [`Kind::Mixed`] draws from: every kind that may overlap with any other on the same
    /// member.
    pub const MIXABLE: [Self; 18] = [
        Self::SidecarKilled,
        Self::GuardKilled,
        Self::PostmasterKilled,
        Self::BackendKilled,
        Self::NodeKilled,
        Self::SidecarFrozen,
        Self::GuardFrozen,
        Self::PostmasterFrozen,
        Self::PostgresFrozen,
        Self::NodeFrozen,
        Self::HostCut,
        Self::SendingCut,
        Self::ReceivingCut,
        Self::PairCut,
        Self::RaftCut,
        Self::ReplicationCut,
        Self::PacketLoss,
        Self::Switchover,
    ];
}
