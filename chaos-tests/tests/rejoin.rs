//! The ways back into the cluster.

use std::time::Duration;

use pgha_chaos::Cluster;
use pgha_chaos::load::{Load, LoadOptions};
use pgha_chaos::member::Part;
use pgha_chaos::trial;

const WITHIN: Duration = Duration::from_secs(90);

async fn a_replica(cluster: &Cluster) -> anyhow::Result<String> {
    let primary = cluster.primary().await?;
    Ok(cluster
        .names()
        .into_iter()
        .find(|name| *name != primary)
        .expect("a replica"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_return_without_data_without_store_without_either() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let load = Load::start(LoadOptions::new(1, cluster.read_write_except(&[])?)).await?;
    load.advance(60, WITHIN).await?;
    let before = cluster.status().await?;
    for (data, store) in [(true, false), (false, true), (true, true)] {
        let name = a_replica(&cluster).await?;
        let member = cluster.member_mut(&name)?;
        member.kill(Part::Node)?;
        if data {
            member.remove_postgres_directory()?;
        }
        if store {
            member.remove_raft_directory()?;
        }
        member.start()?;
        cluster.wait_healthy(WITHIN).await?;
        load.advance(20, WITHIN).await?;
    }
    let record = load.stop().await?;
    let after = cluster.status().await?;
    assert_eq!(
        (&before.primary, before.epoch),
        (&after.primary, after.epoch)
    );
    assert_eq!(before.cluster_id, after.cluster_id);
    cluster
        .ends_in_one_primary_and_all_streaming(WITHIN)
        .await?;
    trial::judge(&cluster, record, true).await?;
    // The returned ones vote: with one of them and the primary there is a quorum.
    let voter = a_replica(&cluster).await?;
    let third = cluster
        .names()
        .into_iter()
        .find(|n| *n != voter && Some(n) != after.primary.as_ref());
    cluster
        .member_mut(&third.expect("three members"))?
        .kill(Part::Node)?;
    cluster
        .ctl()
        .done(&["settings", "set", "proxy.hold_ms=9000", "--yes"])
        .await?;
    cluster.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_returned_store_votes_under_a_new_raft_id() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let name = a_replica(&cluster).await?;
    let before = raft_ids(&cluster).await?;
    cluster.member_mut(&name)?.kill(Part::Sidecar)?;
    cluster.member_mut(&name)?.remove_raft_directory()?;
    cluster.member_mut(&name)?.start()?;
    // The cluster looks healthy until the others miss the old process.
    let deadline = std::time::Instant::now() + WITHIN;
    let after = loop {
        match raft_ids(&cluster).await {
            Ok(after) if after[&name] > before[&name] => break after,
            outcome if std::time::Instant::now() >= deadline => {
                anyhow::bail!("{name} has no new raft id within {WITHIN:?}: {outcome:?}")
            }
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    };
    cluster.wait_healthy(WITHIN).await?;
    assert!(
        after[&name] > *before.values().max().expect("ids"),
        "{before:?} {after:?}"
    );
    for other in cluster.names().into_iter().filter(|other| *other != name) {
        assert_eq!(before[&other], after[&other]);
    }
    cluster
        .ends_in_one_primary_and_all_streaming(WITHIN)
        .await?;
    cluster.finish();
    Ok(())
}

/// Raft ids by name, from the metrics of each member.
async fn raft_ids(cluster: &Cluster) -> anyhow::Result<std::collections::BTreeMap<String, u64>> {
    let mut ids = std::collections::BTreeMap::new();
    for member in &cluster.members {
        let text = pgha_chaos::http::get(member.addresses.http, "/metrics").await?;
        let value = pgha_chaos::http::metric(&text.body, "pgha_raft_id");
        let value = value.ok_or_else(|| anyhow::anyhow!("no pgha_raft_id in {}", text.body))?;
        ids.insert(member.name.clone(), value as u64);
    }
    Ok(ids)
}
