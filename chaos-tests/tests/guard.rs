//! What the guard is for: sessions that go straight to PostgreSQL, past every port, are ended before
//! anybody takes over, whichever of postmaster, sidecar and guard is killed or frozen.

use std::time::{Duration, Instant, SystemTime};

use pgha_chaos::fencing::Loaded;
use pgha_chaos::member::Part;
use pgha_chaos::{Cluster, ClusterOptions};

const WITHIN: Duration = Duration::from_secs(90);
/// Long, so that there is room between the guard's deadline (0.8 of it) and the end of the promises,
/// however busy the machine is.
const LONG_LEASE: Duration = Duration::from_secs(30);

async fn cluster(lease: Option<Duration>) -> anyhow::Result<Cluster> {
    // The replicas of a busy machine fall behind, which is not the matter here.
    let mut options = ClusterOptions::new(3)
        .flag("--pg-direct", "true")
        .initial("on_primary_crash", "failover")
        .initial("max_lag_on_failover", "1GiB");
    if let Some(lease) = lease {
        options = options.initial("lease_ms", lease.as_millis());
    }
    Cluster::start_with(options).await
}

async fn heals(mut cluster: Cluster) -> anyhow::Result<Cluster> {
    cluster.restart_fallen()?;
    cluster.wait_healthy(WITHIN).await?;
    cluster
        .ends_in_one_primary_and_all_streaming(WITHIN)
        .await?;
    Ok(cluster)
}

/// Two such loads at a time would leave nothing of the machine for what is watched.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postmaster_and_sidecar_are_killed() -> anyhow::Result<()> {
    let _turn = TURN.lock().await;
    let mut cluster = cluster(None).await?;
    for parts in [
        &[Part::Postmaster][..],
        &[Part::Sidecar],
        &[Part::Postmaster, Part::Sidecar],
    ] {
        let mut loaded = Loaded::begin(cluster).await?;
        eprintln!("{parts:?} killed");
        for part in parts {
            loaded.cluster.member_mut(&loaded.primary)?.kill(*part)?;
        }
        let served_until = SystemTime::UNIX_EPOCH;
        cluster = heals(loaded.ends_before_the_next(served_until).await?).await?;
    }
    cluster.finish();
    Ok(())
}

/// The guard sleeps over its deadline with the sidecar: awake again it does before anything else what
/// was due, while the promises still keep everybody else from serving.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guard_is_frozen_over_its_deadline() -> anyhow::Result<()> {
    let _turn = TURN.lock().await;
    let loaded = Loaded::begin(cluster(Some(LONG_LEASE)).await?).await?;
    let name = loaded.primary.clone();
    let member = loaded.cluster.member(&name)?;
    let began = Instant::now();
    member.freeze(Part::Sidecar)?;
    // The newest renewal was sent within a tenth of the lease before.
    until(began, LONG_LEASE.mul_f64(0.4)).await;
    member.freeze(Part::Guard)?;
    let frozen_at = SystemTime::now();
    until(began, LONG_LEASE.mul_f64(0.83)).await;
    member.thaw(Part::Guard)?;
    let cluster = loaded.ends_before_the_next(frozen_at).await?;
    cluster.member(&name)?.thaw(Part::Sidecar)?;
    heals(cluster).await?.finish();
    Ok(())
}

async fn until(began: Instant, after: Duration) {
    tokio::time::sleep(after.saturating_sub(began.elapsed())).await;
}
