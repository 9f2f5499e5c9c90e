//! The faults that a cluster must survive without an operator, and what ends each.

use std::time::{Duration, Instant};

use anyhow::Context;

use crate::cluster::Cluster;
use crate::member::Part;
use crate::netns::Cut;
use crate::plain;

/// Something that happens to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9` of the primary's postmaster.
    PostmasterKilled,
    /// `kill -9` of the primary's sidecar; the service manager starts it again.
    SidecarKilled,
    /// `kill -9` of the primary's guard.
    GuardKilled,
    /// `kill -9` of everything of the primary at once; started again.
    NodeKilled,
    /// SIGSTOP of the primary's sidecar, SIGCONT later.
    SidecarFrozen(Duration),
    /// SIGSTOP of everything of the primary, SIGCONT later.
    NodeFrozen(Duration),
    /// The primary's host hears nobody and is heard by nobody; healed later.
    NetworkCut(Duration),
    /// An operator runs `pg_ctl stop` on the primary.
    StoppedByHand,
    /// An operator runs `pg_ctl promote` on a replica.
    PromotedByHand,
    /// The data directory of a replica is gone.
    ReplicaRemoved,
    /// The data directory of the primary is gone, and with it its processes.
    PrimaryRemoved,
    /// `kill -9` of everything everywhere; started again.
    AllKilled,
    /// No fault: `pgha-ctl switchover` to whoever it chooses.
    Switchover,
}

/// What the sessions of clients on surviving members' ports meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Impact {
    /// The primary they talk to ends.
    PrimaryEnds,
    /// Every port ends, too.
    EveryPortEnds,
    /// Nothing that they talk to is touched.
    Untouched,
}

impl Fault {
    /// What it means for clients of other members.
    pub const fn impact(self) -> Impact {
        match self {
            Self::PromotedByHand | Self::ReplicaRemoved => Impact::Untouched,
            Self::AllKilled => Impact::EveryPortEnds,
            Self::PostmasterKilled
            | Self::SidecarKilled
            | Self::GuardKilled
            | Self::NodeKilled
            | Self::SidecarFrozen(_)
            | Self::NodeFrozen(_)
            | Self::NetworkCut(_)
            | Self::StoppedByHand
            | Self::PrimaryRemoved
            | Self::Switchover => Impact::PrimaryEnds,
        }
    }

    /// Who is hit: the primary or, where the fault is a replica's, the first of them.
    pub async fn victim(self, cluster: &Cluster) -> anyhow::Result<String> {
        let primary = cluster.primary().await?;
        match self {
            Self::PromotedByHand | Self::ReplicaRemoved => {
                let mut others = cluster.names().into_iter().filter(|name| *name != primary);
                others.next().context("a cluster of one has no replica")
            }
            _ => Ok(primary),
        }
    }

    /// Makes it happen.
    pub async fn strike(self, cluster: &mut Cluster, victim: &str) -> anyhow::Result<()> {
        let member = cluster.member_mut(victim)?;
        match self {
            Self::PostmasterKilled => member.kill(Part::Postmaster),
            Self::SidecarKilled => member.kill(Part::Sidecar),
            Self::GuardKilled => member.kill(Part::Guard),
            Self::NodeKilled => member.kill(Part::Node),
            Self::SidecarFrozen(_) => member.freeze(Part::Sidecar),
            Self::NodeFrozen(_) => member.freeze(Part::Node),
            Self::ReplicaRemoved => member.remove_postgres_directory(),
            Self::PrimaryRemoved => {
                member.remove_postgres_directory()?;
                crate::process::signal_all(
                    &member.postgres_processes(),
                    nix::sys::signal::Signal::SIGKILL,
                );
                Ok(())
            }
            Self::NetworkCut(_) => {
                let index = cluster.index(victim)?;
                let network = cluster.network.as_ref().context("no namespaces to cut")?;
                network.cut(Cut::Host(index))
            }
            Self::StoppedByHand => pg_ctl(cluster, victim, &["stop", "-m", "fast"]),
            Self::PromotedByHand => pg_ctl(cluster, victim, &["promote"]),
            Self::AllKilled => {
                for member in &mut cluster.members {
                    member.kill(Part::Node)?;
                }
                Ok(())
            }
            Self::Switchover => cluster
                .ctl()
                .done(&["switchover", "--yes"])
                .await
                .map(|_| ()),
        }
    }

    /// Ends what lasts: thaws, heals the network, starts what a service manager would start.
    /// `struck` is when it began.
    pub async fn heal(
        self,
        cluster: &mut Cluster,
        victim: &str,
        struck: Instant,
    ) -> anyhow::Result<()> {
        if let Self::SidecarFrozen(length) | Self::NodeFrozen(length) | Self::NetworkCut(length) =
            self
        {
            tokio::time::sleep(length.saturating_sub(struck.elapsed())).await;
        }
        match self {
            // The guard empties its tree and ends; the sidecar may have been ended with it.
            Self::SidecarFrozen(_) => cluster.member(victim)?.thaw(Part::Sidecar)?,
            Self::NodeFrozen(_) => cluster.member(victim)?.thaw(Part::Node)?,
            Self::NetworkCut(_) => cluster.network.as_ref().context("no network")?.heal()?,
            _ => {}
        }
        cluster.restart_fallen()
    }
}

/// By hand, as the account that owns the data directory and behind the sidecar's back.
pub fn pg_ctl(cluster: &Cluster, name: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let directory = cluster.member(name)?.postgres_directory();
    let directory = directory.display().to_string();
    let arguments = [arguments, &["--no-wait", "-D", &directory]].concat();
    plain::program(&cluster.account, "pg_ctl", &arguments).map(|_| ())
}
