//! The ways back into the cluster.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use pgha_chaos::load::{Load, LoadOptions};
use pgha_chaos::member::Part;
use pgha_chaos::netns::{self, Cut, Network};
use pgha_chaos::status::Status;
use pgha_chaos::{Cluster, ClusterOptions, http, trial, wait};

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
    let (name, before) = set_store_back(&mut cluster).await?;
    cluster.member_mut(&name)?.start()?;
    comes_back_without_it(&cluster, &name, &before).await?;
    cluster.finish();
    Ok(())
}

/// The same where the machine's network comes up after the sidecar: nobody answers what it asks when it
/// starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_copy_that_starts_out_of_reach_is_found_out_once_it_is_reached() -> anyhow::Result<()>
{
    if netns::skipped("an_old_copy_that_starts_out_of_reach_is_found_out_once_it_is_reached") {
        return Ok(());
    }
    let mut cluster = Cluster::start_with(ClusterOptions::new(3).in_namespaces()).await?;
    let (name, before) = set_store_back(&mut cluster).await?;
    let others = cluster.names().into_iter().filter(|other| *other != name);
    let network = || cluster.network.as_ref().context("no namespaces");
    for other in others {
        let ends = (cluster.index(&name)?, cluster.index(&other)?);
        network()?.cut(Cut::Between(ends.0, ends.1))?;
    }
    cluster.member_mut(&name)?.start()?;
    wait::until("it goes on with the old copy", WITHIN, || async {
        let status: Status = cluster.ctl_of(&name)?.json(&["status"]).await?;
        anyhow::ensure!(!status.quorum, "{status:?}");
        Ok(())
    })
    .await?;
    cluster.network.as_ref().context("no namespaces")?.heal()?;
    comes_back_without_it(&cluster, &name, &before).await?;
    cluster.finish();
    Ok(())
}

/// It came back without its store under another raft id, and then its old store is found and put back: by
/// that id nobody calls it any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_was_replaced_meanwhile_is_found_out() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let name = a_replica(&cluster).await?;
    let first = raft_ids(&cluster).await?;
    let member = cluster.member_mut(&name)?;
    member.kill(Part::Node)?;
    let store = member.raft_directory();
    let old = store.with_file_name("found-again");
    std::fs::rename(&store, &old)?;
    cluster.member_mut(&name)?.start()?;
    returns_under_a_new_raft_id(&cluster, &name, &first).await?;
    cluster.wait_healthy(WITHIN).await?;
    let second = raft_ids(&cluster).await?;
    let member = cluster.member_mut(&name)?;
    member.kill(Part::Node)?;
    std::fs::remove_dir_all(&store)?;
    std::fs::rename(&old, &store)?;
    member.start()?;
    comes_back_without_it(&cluster, &name, &second).await?;
    cluster.finish();
    Ok(())
}

/// Ends a replica and puts a copy of its store in place that was made before a switchover to it. Tells
/// its name, and the raft ids before.
async fn set_store_back(cluster: &mut Cluster) -> anyhow::Result<(String, BTreeMap<String, u64>)> {
    let name = a_replica(cluster).await?;
    let before = raft_ids(cluster).await?;
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
    assert_eq!(raft_ids(cluster).await?, before, "a start loses nothing");

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
    cluster.member_mut(&name)?.kill(Part::Node)?;
    std::fs::remove_dir_all(&from)?;
    std::fs::rename(&copy, &from)?;
    Ok((name, before))
}

async fn comes_back_without_it(
    cluster: &Cluster,
    name: &str,
    before: &BTreeMap<String, u64>,
) -> anyhow::Result<()> {
    returns_under_a_new_raft_id(cluster, name, before).await?;
    let member = cluster.member(name)?;
    let log = member.log_text();
    assert!(log.contains("an old copy was put back"), "{log}");
    let aside = member.raft_directory().with_file_name("raft.quarantined-1");
    assert!(aside.exists(), "{}", aside.display());
    cluster
        .ends_in_one_primary_and_all_streaming(WITHIN)
        .await?;
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
        let client = cluster.network.as_ref().map(Network::client);
        let text = http::get_from(client, member.addresses.http, "/metrics").await?;
        let value = http::metric(&text.body, "pgha_raft_id");
        let value = value.ok_or_else(|| anyhow::anyhow!("no pgha_raft_id in {}", text.body))?;
        ids.insert(member.name.clone(), value as u64);
    }
    Ok(ids)
}
