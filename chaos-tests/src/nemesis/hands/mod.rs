//! What the nemesis does with its hands: one file for each sort of fault.

pub(super) mod clock;
mod disk;
pub(super) mod flush;
mod jobs;
mod network;
mod operator;
mod processes;
mod store;

use anyhow::Context;

use super::{Dose, Entry, Kind};
use crate::cluster::Cluster;
use crate::ctl::Answer;
use crate::member::Part;
use crate::netns::{Cut, POSTGRES, RAFT, READ_ONLY, READ_WRITE};

pub(super) use operator::switch_to;

/// A fault that began and ended as it should, and met nothing: another one may have been in its way.
#[derive(Debug)]
pub struct NoEffect(String);

impl std::fmt::Display for NoEffect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoEffect {}

/// What has to be undone.
pub(super) enum Held {
    /// Nothing.
    Nothing,
    /// Members whose sidecar a service manager would start again.
    Down(Vec<String>),
    /// Processes that were stopped.
    Frozen(Vec<(String, Part)>),
    /// Frames that are dropped.
    Cuts(Vec<Cut>),
    /// Bytes that come late.
    Late(network::Late),
    /// Flushes that are traced.
    Flushes(flush::Tracer),
    /// A file that leaves no room, and who needs room.
    Ballast(disk::Ballast),
    /// A store that was damaged without power, to be found out.
    Damage(store::Damage),
    /// An old copy of a store, to be put in place.
    OldStore(store::OldStore),
    /// A member whose wall clock is wrong.
    Clock(clock::Wrong),
    /// A switchover under way.
    Switchover(tokio::task::JoinHandle<anyhow::Result<Answer>>),
}

/// Makes ready what a fault needs: a disk of its own, a clock that can be set.
pub(super) async fn prepare(
    cluster: &mut Cluster,
    entry: Entry,
    victims: &[String],
) -> anyhow::Result<()> {
    let victim = victims.first().context("nobody is there")?;
    match entry.kind {
        Kind::WalDiskFull => disk::prepare(cluster, victim, disk::Part::Wal).await,
        Kind::DataDiskFull => {
            disk::prepare(cluster, victim, disk::Part::Data).await?;
            disk::prepare(cluster, victim, disk::Part::Wal).await
        }
        Kind::StoreDiskFull => disk::prepare(cluster, victim, disk::Part::Store).await,
        Kind::WallClockStep | Kind::WallClockRate => clock::prepare(cluster, victim).await,
        Kind::Latency => network::prepare(cluster, victim).await,
        _ => Ok(()),
    }
}

/// Strikes. An error where there was nothing to strike.
pub(super) async fn begin(
    cluster: &mut Cluster,
    entry: Entry,
    victims: &[String],
) -> anyhow::Result<Held> {
    let victim = victims.first().context("nobody is there")?;
    let kill = |cluster: &mut Cluster, part| processes::kill(cluster, victims, part);
    let freeze = |cluster: &Cluster, part| processes::freeze(cluster, victims, part);
    let host = cluster.index(victim)?;
    match entry.kind {
        Kind::SidecarKilled => kill(cluster, Part::Sidecar),
        Kind::GuardKilled => kill(cluster, Part::Guard),
        Kind::PostmasterKilled => kill(cluster, Part::Postmaster),
        Kind::BackendKilled => kill(cluster, Part::Backend),
        Kind::NodeKilled | Kind::AllKilled => kill(cluster, Part::Node),
        Kind::SidecarFrozen => freeze(cluster, Part::Sidecar),
        Kind::GuardFrozen => freeze(cluster, Part::Guard),
        Kind::PostmasterFrozen => freeze(cluster, Part::Postmaster),
        Kind::PostgresFrozen => freeze(cluster, Part::Postgres),
        Kind::NodeFrozen | Kind::AllFrozen => freeze(cluster, Part::Node),
        Kind::HostCut => network::cut(cluster, vec![Cut::Host(host)]),
        Kind::SendingCut => network::cut(cluster, vec![Cut::From(host)]),
        Kind::ReceivingCut => network::cut(cluster, vec![Cut::To(host)]),
        Kind::PairCut => {
            let other = victims.get(1).context("a pair needs two members")?;
            let other = cluster.index(other)?;
            network::cut(cluster, vec![Cut::Between(host, other)])
        }
        Kind::RaftCut => network::cut(cluster, vec![Cut::Port(host, RAFT)]),
        Kind::ReplicationCut => network::cut(cluster, vec![Cut::Port(host, POSTGRES)]),
        Kind::ClientCut => {
            let ports = [READ_WRITE, READ_ONLY].map(|port| Cut::Port(host, port));
            network::cut(cluster, ports.to_vec())
        }
        Kind::PacketLoss => {
            let Dose::Percent(percent) = entry.dose else {
                anyhow::bail!("a loss without a measure");
            };
            network::cut(cluster, vec![Cut::Loss(host, percent)])
        }
        Kind::Latency => network::delay(cluster, victim, entry.dose),
        Kind::PostgresFsyncError => flush::of_postgres(cluster, victim, flush::FAILS).await,
        Kind::PostgresFsyncSlow => {
            flush::of_postgres(cluster, victim, &flush::takes(entry.dose)?).await
        }
        Kind::StoreFsyncError => flush::of_store(cluster, victim, flush::FAILS).await,
        Kind::StoreFsyncSlow => flush::of_store(cluster, victim, &flush::takes(entry.dose)?).await,
        Kind::WalDiskFull => disk::fill(cluster, victim, disk::Part::Wal),
        Kind::DataDiskFull => disk::fill(cluster, victim, disk::Part::Data),
        Kind::StoreDiskFull => disk::fill(cluster, victim, disk::Part::Store),
        Kind::StoreDamaged => store::damage(cluster, victim, entry.dose),
        Kind::StoreDeleted => store::delete(cluster, victim),
        Kind::StoreRestored => store::copy(cluster, victim),
        Kind::WallClockStep | Kind::WallClockRate => clock::set(cluster, victim, entry.dose),
        Kind::CloneInterrupted => jobs::interrupt_clone(cluster, victim).await,
        Kind::RewindInterrupted => jobs::interrupt_rewind(cluster, victim).await,
        Kind::Switchover => Ok(operator::switchover(cluster)),
        Kind::PromotedByHand => operator::promote(cluster, victim).await,
        Kind::StoppedByHand => operator::stop(cluster, victim),
        Kind::DataRemoved => operator::remove_data(cluster, victim),
        Kind::FlappingCut | Kind::Mixed => anyhow::bail!("a schedule, not a fault"),
    }
}

/// Undoes it. An error where that failed, or where it had no effect while it lasted.
pub(super) async fn end(cluster: &mut Cluster, held: Held, alone: bool) -> anyhow::Result<()> {
    match held {
        Held::Nothing => Ok(()),
        Held::Down(names) => processes::start(cluster, &names),
        Held::Frozen(parts) => processes::thaw(cluster, &parts),
        Held::Cuts(cuts) => network::mend(cluster, &cuts),
        Held::Late(late) => network::hurry(cluster, &late),
        Held::Flushes(tracer) => tracer.end(cluster),
        Held::Ballast(ballast) => ballast.end(cluster).await,
        Held::Damage(damage) => damage.found_out(cluster).await,
        Held::OldStore(old) => old.put_back(cluster).await,
        Held::Clock(wrong) => clock::reset(cluster, wrong).await,
        Held::Switchover(task) => operator::outcome(task, alone).await,
    }
}
