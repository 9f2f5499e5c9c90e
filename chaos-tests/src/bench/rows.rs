//! The rows of the table of design 8.

use clap::ValueEnum;

use crate::bench::{
    Figure, Plan, connections, failover, formation, idle, three_members, throughput,
};
use crate::netns;

/// A row, or a group that is measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum RowName {
    /// Empty directories to three healthy members.
    Formation,
    /// `kill -9` of the postmaster.
    Postmaster,
    /// `kill -9` of the sidecar.
    Sidecar,
    /// `kill -9` of the whole node.
    Node,
    /// The primary's network is cut; what it still acknowledges.
    Cut,
    /// The whole node is frozen and resumed.
    Frozen,
    /// Planned.
    Switchover,
    /// `kill -9` of the raft leader's node, which is not the primary's.
    RaftLeader,
    /// Memory and processor time of an idle cluster.
    Idle,
    /// The read-write port beside HAProxy.
    Throughput,
    /// Memory for an idle connection.
    Connections,
}

pub(super) async fn measure(row: RowName, plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    let namespaces = matches!(row, RowName::Cut | RowName::Frozen);
    if let Some(obstacle) = netns::obstacle().filter(|_| namespaces) {
        anyhow::bail!(obstacle);
    }
    match row {
        RowName::Formation => return formation::measure(plan).await,
        RowName::Throughput => return throughput::measure().await,
        RowName::Connections => return connections::measure().await,
        _ => {}
    }
    let mut cluster = three_members(plan, namespaces).await?;
    let figures = match row {
        RowName::Idle => idle::measure(&cluster).await,
        RowName::RaftLeader => failover::raft_leader(&mut cluster, plan.rounds).await,
        RowName::Switchover => failover::switchover(&mut cluster, plan.rounds).await,
        RowName::Cut => failover::cut(&mut cluster, plan.rounds).await,
        RowName::Frozen => failover::frozen(&mut cluster, plan.rounds).await,
        RowName::Postmaster => failover::postmaster(&mut cluster, plan.rounds).await,
        RowName::Sidecar => failover::sidecar(&mut cluster, plan.rounds).await,
        RowName::Node => failover::node(&mut cluster, plan.rounds).await,
        RowName::Formation | RowName::Throughput | RowName::Connections => Ok(Vec::new()),
    }?;
    cluster.finish();
    Ok(figures)
}
