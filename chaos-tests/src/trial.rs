//! One fault under an insert load, to the end state and the judgement of what clients were told.

use std::time::{Duration, Instant};

use crate::checker;
use crate::cluster::Cluster;
use crate::faults::{Fault, Impact};
use crate::load::{Load, LoadOptions, Record};
use crate::sql::Target;

/// Writes work again within this, whatever the machine is busy with.
const SERVICE_WITHIN: Duration = Duration::from_secs(40);
/// Every member streams again within this after the end of the fault: rewind or clone included.
const CONVERGED_WITHIN: Duration = Duration::from_secs(90);
/// Default of `max_lag_on_failover`.
const LAG_MAX: u64 = 16 << 20;
/// A renewal interval and two thirds of the lease, at the default of 1500 ms (P3).
pub const EXPOSED: Duration = Duration::from_millis(1150);

/// Runs clients beside the insert load through a fault; see the client mix.
pub trait Companion {
    /// After the fault struck and the load writes again, before lasting faults end.
    fn service_is_back(&mut self) -> impl Future<Output = anyhow::Result<()>>;
}

/// Nobody but the insert load.
pub struct Alone;

impl Companion for Alone {
    async fn service_is_back(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
}

/// Strikes while `writer` inserts, waits for service, heals, waits for the end state, and judges.
pub async fn survive(
    cluster: &mut Cluster,
    fault: Fault,
    writer: i32,
    companion: &mut impl Companion,
) -> anyhow::Result<()> {
    let victim = fault.victim(cluster).await?;
    let before = placement(cluster).await?;
    let targets = ports_for(cluster, fault, &victim)?;
    let load = Load::start(LoadOptions::new(writer, targets)).await?;
    load.advance(60, SERVICE_WITHIN).await?;
    eprintln!("{fault:?} on {victim}");
    let struck = Instant::now();
    fault.strike(cluster, &victim).await?;
    if fault.impact() == Impact::EveryPortEnds {
        fault.heal(cluster, &victim, struck).await?;
    }
    load.advance(30, SERVICE_WITHIN).await?;
    companion.service_is_back().await?;
    if fault.impact() != Impact::EveryPortEnds {
        fault.heal(cluster, &victim, struck).await?;
    }
    load.advance(30, SERVICE_WITHIN).await?;
    cluster.wait_healthy(CONVERGED_WITHIN).await?;
    let record = load.stop().await?;
    cluster
        .ends_in_one_primary_and_all_streaming(CONVERGED_WITHIN)
        .await?;
    let after = placement(cluster).await?;
    judge(cluster, record, before == after).await
}

/// Who is primary on which timeline.
async fn placement(cluster: &Cluster) -> anyhow::Result<(Option<String>, Option<u32>)> {
    let status = cluster.status().await?;
    Ok((status.primary, status.timeline))
}

/// The ports of the members that the fault leaves alone; all where it spares none.
pub fn ports_for(cluster: &Cluster, fault: Fault, victim: &str) -> anyhow::Result<Vec<Target>> {
    match fault.impact() {
        Impact::PrimaryEnds if fault == Fault::Switchover => cluster.read_write_except(&[]),
        Impact::EveryPortEnds => cluster.read_write_except(&[]),
        Impact::PrimaryEnds | Impact::Untouched => cluster.read_write_except(&[victim]),
    }
}

/// The rows against the database and, where a change of primary may have cost some, the journal.
pub async fn judge(cluster: &Cluster, record: Record, in_place: bool) -> anyhow::Result<()> {
    let primary = cluster.primary().await?;
    let present = checker::read_rows(&cluster.direct(&primary)?).await?;
    let records = [record];
    let verdict = checker::judge(&records, &present)?;
    if in_place {
        return verdict.nothing_lost();
    }
    let exposed_bytes = checker::wal_bytes_in_any(&records, EXPOSED);
    let journal = cluster.history().await?;
    verdict.losses_reported(&journal, LAG_MAX + exposed_bytes)
}
