//! What a generator of numbers makes of a kind of fault.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::{Dose, Entry};
use crate::nemesis::{Kind, Place};

/// Faults of a mixed round.
const MIXED: std::ops::RangeInclusive<usize> = 3..=5;
/// A fault of a mixed round that lasts so long leaves time to order a switchover meanwhile.
const LASTS_MIN: Duration = Duration::from_secs(1);
/// Time in which the faults of a mixed round strike.
const MIXED_WITHIN_MS: u64 = 8_000;

pub(super) fn entry(kind: Kind, rng: &mut StdRng) -> Entry {
    Entry {
        at: ms(rng, 300, 1_500),
        kind,
        place: place(kind, rng),
        length: length(kind, rng),
        dose: dose(kind, rng),
    }
}

/// Whether it may happen to any member.
pub(super) const fn is_anywhere(kind: Kind) -> bool {
    match kind {
        Kind::SidecarKilled
        | Kind::GuardKilled
        | Kind::PostmasterKilled
        | Kind::NodeKilled
        | Kind::SidecarFrozen
        | Kind::GuardFrozen
        | Kind::PostmasterFrozen
        | Kind::PostgresFrozen
        | Kind::NodeFrozen
        | Kind::HostCut
        | Kind::SendingCut
        | Kind::ReceivingCut
        | Kind::RaftCut
        | Kind::ReplicationCut
        | Kind::ClientCut
        | Kind::FlappingCut
        | Kind::PacketLoss
        | Kind::Latency
        | Kind::PostgresFsyncError
        | Kind::PostgresFsyncSlow
        | Kind::StoreFsyncError
        | Kind::StoreFsyncSlow
        | Kind::StoreDiskFull
        | Kind::StoreDamaged
        | Kind::StoreDeleted
        | Kind::StoreRestored
        | Kind::WallClockStep
        | Kind::WallClockRate
        | Kind::DataRemoved => true,
        Kind::BackendKilled
        | Kind::AllKilled
        | Kind::AllFrozen
        | Kind::PairCut
        | Kind::WalDiskFull
        | Kind::DataDiskFull
        | Kind::CloneInterrupted
        | Kind::RewindInterrupted
        | Kind::Switchover
        | Kind::PromotedByHand
        | Kind::StoppedByHand
        | Kind::Mixed => false,
    }
}

/// Mostly the primary: there is more to lose.
fn place(kind: Kind, rng: &mut StdRng) -> Place {
    let replica = rng.random_range(0..2);
    let any = match rng.random_range(0..10) {
        0..=5 => Place::Primary,
        6..=7 => Place::RaftLeader,
        _ => Place::Replica(replica),
    };
    match kind {
        _ if is_anywhere(kind) => any,
        Kind::AllKilled | Kind::AllFrozen => Place::All,
        Kind::PairCut if rng.random_bool(0.7) => Place::PrimaryAndReplica(replica),
        Kind::PairCut => Place::Replicas,
        Kind::PromotedByHand | Kind::CloneInterrupted => Place::Replica(replica),
        // Sessions are where the primary is, who writes needs room, and who is left behind by a
        // failover rewinds.
        _ => Place::Primary,
    }
}

fn length(kind: Kind, rng: &mut StdRng) -> Duration {
    match kind {
        Kind::GuardKilled
        | Kind::PostmasterKilled
        | Kind::BackendKilled
        | Kind::Switchover
        | Kind::PromotedByHand
        | Kind::StoppedByHand
        | Kind::DataRemoved => Duration::ZERO,
        Kind::SidecarKilled
        | Kind::NodeKilled
        | Kind::AllKilled
        | Kind::StoreDamaged
        | Kind::StoreDeleted
        | Kind::CloneInterrupted
        | Kind::RewindInterrupted => ms(rng, 0, 4_000),
        // Half of them shorter than the lease.
        Kind::SidecarFrozen | Kind::GuardFrozen | Kind::NodeFrozen | Kind::AllFrozen => {
            if rng.random_bool(0.3) {
                ms(rng, 200, 1_500)
            } else {
                ms(rng, 1_500, 8_000)
            }
        }
        Kind::PostmasterFrozen | Kind::PostgresFrozen => ms(rng, 2_000, 14_000),
        Kind::HostCut
        | Kind::SendingCut
        | Kind::ReceivingCut
        | Kind::PairCut
        | Kind::RaftCut
        | Kind::ReplicationCut
        | Kind::ClientCut
        | Kind::PacketLoss
        | Kind::Latency => ms(rng, 1_000, 8_000),
        // Long enough for what happens by and by.
        Kind::PostgresFsyncError
        | Kind::PostgresFsyncSlow
        | Kind::StoreFsyncError
        | Kind::StoreFsyncSlow
        | Kind::WalDiskFull
        | Kind::DataDiskFull
        | Kind::StoreDiskFull
        | Kind::StoreRestored
        | Kind::WallClockStep
        | Kind::WallClockRate => ms(rng, 4_000, 8_000),
        Kind::FlappingCut | Kind::Mixed => Duration::ZERO,
    }
}

/// Of the first round, where chance must not leave out what the kind is about: a hung PostgreSQL is
/// declared so after ten seconds (`primary_hang_ms`), and its epoch has ended some seconds later.
pub(super) fn first_length(kind: Kind, rng: &mut StdRng) -> Option<Duration> {
    match kind {
        Kind::PostmasterFrozen => Some(ms(rng, 12_000, 14_000)),
        Kind::PostgresFrozen => Some(ms(rng, 17_000, 18_000)),
        _ => None,
    }
}

fn dose(kind: Kind, rng: &mut StdRng) -> Dose {
    match kind {
        Kind::PacketLoss => Dose::Percent(rng.random_range(10..=30)),
        Kind::Latency => Dose::Delay(ms(rng, 20, 1_000)),
        Kind::StoreDamaged => Dose::Percent(rng.random_range(0..100)),
        Kind::PostgresFsyncSlow | Kind::StoreFsyncSlow => Dose::Delay(ms(rng, 200, 2_000)),
        Kind::WallClockStep => {
            let seconds = rng.random_range(60..=7_200);
            Dose::Seconds(if rng.random_bool(0.5) {
                seconds
            } else {
                -seconds
            })
        }
        // So far off that the fault can be told from the noise of a busy machine.
        Kind::WallClockRate => Dose::RatePermille(*[500, 2_000].choose(rng).unwrap_or(&2_000)),
        _ => Dose::None,
    }
}

/// Off and on at the pace of leases and elections (faults 29).
pub(super) fn flapping(rng: &mut StdRng) -> Vec<Entry> {
    let place = place(Kind::FlappingCut, rng);
    let mut at = ms(rng, 300, 1_000);
    (0..rng.random_range(4..=7))
        .map(|_| {
            let length = ms(rng, 100, 2_500);
            let entry = Entry {
                at,
                kind: Kind::HostCut,
                place,
                length,
                dose: Dose::None,
            };
            at += length + ms(rng, 100, 900);
            entry
        })
        .collect()
}

/// Several faults, and a switchover while one of them lasts.
pub(super) fn mixed(rng: &mut StdRng) -> Vec<Entry> {
    let mut entries: Vec<Entry> = (0..rng.random_range(MIXED))
        .filter_map(|_| Kind::MIXABLE.choose(rng).copied())
        .collect::<Vec<_>>()
        .into_iter()
        .map(|kind| Entry {
            at: ms(rng, 200, MIXED_WITHIN_MS),
            ..entry(kind, rng)
        })
        .collect();
    let lasts = |entry: &&Entry| entry.length >= LASTS_MIN;
    let lasting: Vec<Entry> = entries.iter().filter(lasts).copied().collect();
    let during = lasting.choose(rng).copied().unwrap_or_else(|| {
        // Whatever was drawn is over at once.
        let cut = entry(Kind::HostCut, rng);
        entries.push(cut);
        cut
    });
    entries.push(Entry {
        at: during.at + during.length.mul_f64(rng.random_range(0.1..0.7)),
        ..entry(Kind::Switchover, rng)
    });
    entries
}

fn ms(rng: &mut StdRng, from: u64, to: u64) -> Duration {
    Duration::from_millis(rng.random_range(from..=to))
}
