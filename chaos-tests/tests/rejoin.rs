//! The ways back into the cluster.

use std::collections::BTreeMap;
use std::process::Command;
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
    returns_under_a_new_raft_id(&cluster, &name, &before).await?;
    cluster
        .ends_in_one_primary_and_all_streaming(WITHIN)
        .await?;
    cluster.finish();
    Ok(())
}

/// What it voted and promised since the copy was made is forgotten in it (faults 52). The others were
/// told how often the store had been written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_copy_of_a_store_does_not_vote() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let name = a_replica(&cluster).await?;
    let before = raft_ids(&cluster).await?;
    let copy = cluster.scratch.path().join("old-store");
    let member = cluster.member_mut(&name)?;
    member.kill(Part::Node)?;
    let from = member.raft_directory();
    let copied = Command::new("cp").arg("-a").args([&from, &copy]).status()?;
    assert!(copied.success(), "{copied}");
    // What was last heard of it looks healthy for a while.
    let deadline = std::time::Instant::now() + WITHIN;
    while cluster.status().await?.ailment(&cluster.names()).is_none() {
        assert!(std::time::Instant::now() < deadline, "{name} is not missed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    cluster.member_mut(&name)?.start()?;
    cluster.wait_healthy(WITHIN).await?;
    assert_eq!(raft_ids(&cluster).await?, before, "a start loses nothing");

    // A switchover to it: it has the entries, and the others its report of the next state.
    let to = ["switchover", "--to", &name, "--yes"];
    loop {
        // It is refused until the member streams: what was heard of it before may look as if it did.
        let answer = cluster.ctl().run(&to).await?;
        if answer.code == 0 {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    cluster.wait_healthy(WITHIN).await?;
    let member = cluster.member_mut(&name)?;
    member.kill(Part::Node)?;
    std::fs::remove_dir_all(&from)?;
    std::fs::rename(&copy, &from)?;
    member.start()?;
    returns_under_a_new_raft_id(&cluster, &name, &before).await?;
    let log = cluster.member(&name)?.log_text();
    assert!(log.contains("an old copy was put back"), "{log}");
    assert!(from.with_file_name("raft.quarantined-1").exists());
    cluster
        .ends_in_one_primary_and_all_streaming(WITHIN)
        .await?;
    cluster.finish();
    Ok(())
}

async fn returns_under_a_new_raft_id(
    cluster: &Cluster,
    name: &str,
    before: &BTreeMap<String, u64>,
) -> anyhow::Result<()> {
    // The cluster looks healthy until the others miss the old process.
    let deadline = std::time::Instant::now() + WITHIN;
    let after = loop {
        match raft_ids(cluster).await {
            Ok(after) if after[name] > before[name] => break after,
            outcome if std::time::Instant::now() >= deadline => {
                anyhow::bail!("{name} has no new raft id within {WITHIN:?}: {outcome:?}")
            }
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    };
    cluster.wait_healthy(WITHIN).await?;
    assert!(
        after[name] > *before.values().max().expect("ids"),
        "{before:?} {after:?}"
    );
    for other in cluster.names().into_iter().filter(|other| other != name) {
        assert_eq!(before[&other], after[&other]);
    }
    Ok(())
}

/// Raft ids by name, from the metrics of each member.
async fn raft_ids(cluster: &Cluster) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut ids = BTreeMap::new();
    for member in &cluster.members {
        let text = pgha_chaos::http::get(member.addresses.http, "/metrics").await?;
        let value = pgha_chaos::http::metric(&text.body, "pgha_raft_id");
        let value = value.ok_or_else(|| anyhow::anyhow!("no pgha_raft_id in {}", text.body))?;
        ids.insert(member.name.clone(), value as u64);
    }
    Ok(ids)
}
