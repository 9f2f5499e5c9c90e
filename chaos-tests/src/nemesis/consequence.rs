//! Which faults a primary cannot survive in its epoch.

use std::time::Duration;

use super::Kind;

/// The lease of the members is 1.5 s; it takes a moment until a fault has struck all of a busy member.
const OUTLASTS_LEASE: Duration = Duration::from_secs(2);
/// PostgreSQL hangs after 10 s without an answer (`primary_hang_ms`); it takes two seconds until the first
/// question has failed, one more until the last has, and for two thirds of a lease from then on an answer
/// still saves it. The rest is for a busy machine.
const OUTLASTS_PATIENCE: Duration = Duration::from_secs(17);

impl Kind {
    /// Whether a primary that it strikes cannot go on in its epoch, where it lasts so long: a new one has to
    /// follow, if only for the same member. No claim is made of what depends on more than that.
    pub fn ends_epoch(self, length: Duration) -> bool {
        match self {
            // PostgreSQL ends, or whoever has to end it is gone: each start has an epoch of its own
            // (design 5). A switchover that was refused has not ended as it should.
            Self::SidecarKilled
            | Self::GuardKilled
            | Self::PostmasterKilled
            | Self::BackendKilled
            | Self::NodeKilled
            | Self::AllKilled
            | Self::PostgresFsyncError
            | Self::StoreFsyncError
            | Self::WalDiskFull
            | Self::StoreDamaged
            | Self::StoreDeleted
            | Self::StoreRestored
            | Self::RewindInterrupted
            | Self::Switchover
            | Self::StoppedByHand
            | Self::DataRemoved => true,
            // Nobody hears of its renewals, or it of their answers; a guard that stands still for half a
            // lease is taken for dead (decision 0008).
            Self::SidecarFrozen
            | Self::GuardFrozen
            | Self::NodeFrozen
            | Self::AllFrozen
            | Self::HostCut
            | Self::SendingCut
            | Self::ReceivingCut
            | Self::RaftCut => length >= OUTLASTS_LEASE,
            Self::PostgresFrozen => length >= OUTLASTS_PATIENCE,
            // Its sessions go on, and how soon it is noticed that nobody new is let in is no promise.
            Self::PostmasterFrozen
            // A quorum still hears it, or may.
            | Self::PairCut
            | Self::PacketLoss
            | Self::Latency
            // What it takes is not needed for the lease, or strikes no primary.
            | Self::ReplicationCut
            | Self::ClientCut
            | Self::PostgresFsyncSlow
            | Self::StoreFsyncSlow
            | Self::DataDiskFull
            | Self::StoreDiskFull
            | Self::WallClockStep
            | Self::WallClockRate
            | Self::CloneInterrupted
            | Self::PromotedByHand
            // Schedules, not faults.
            | Self::FlappingCut
            | Self::Mixed => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nemesis::Schedule;
    use clap::ValueEnum;

    #[test]
    fn what_changes_no_primary_ends_no_epoch() {
        let long = Duration::from_secs(3600);
        for kind in Kind::value_variants() {
            let both = kind.changes_no_primary() && kind.ends_epoch(long);
            assert!(!both, "{kind:?}");
        }
    }

    #[test]
    fn less_than_a_lease_proves_nothing() {
        let short = Duration::from_millis(1_500);
        for kind in [Kind::HostCut, Kind::RaftCut, Kind::NodeFrozen] {
            assert!(
                !kind.ends_epoch(short) && kind.ends_epoch(short * 2),
                "{kind:?}"
            );
        }
        assert!(Kind::PostmasterKilled.ends_epoch(Duration::ZERO));
    }

    #[test]
    fn the_first_round_of_a_frozen_server_lasts_until_its_epoch_ends() {
        for seed in 0..50 {
            let entries = Schedule::draw(Kind::PostgresFrozen, seed, 0).entries;
            let ends = |entry: &crate::nemesis::Entry| entry.kind.ends_epoch(entry.length);
            assert!(entries.iter().all(ends), "{entries:?}");
        }
    }
}
