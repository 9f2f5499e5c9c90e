//! Those who were called lost and were not, and those who were left beside the survivor.

use std::time::{Duration, Instant};

use anyhow::Context;
use pgha_chaos::member::Part;
use pgha_chaos::netns::{self, Cut};
use pgha_chaos::{Cluster, ClusterOptions, wait};

use crate::rig::{WITHIN, all_are_back, fenced, patient, raft_ids, recover, ruled_out, status_of};

/// From the moment that the old generation can hear of the new one until it takes no write any more.
const FENCED_WITHIN: Duration = Duration::from_secs(10);

/// The operator was wrong, or somebody started the two again where they do not reach the survivor: they
/// are a quorum of the old generation, and go on in it. That ends when they hear of the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_were_not_lost_fence_as_soon_as_they_hear() -> anyhow::Result<()> {
    if netns::skipped("two_that_were_not_lost_fence_as_soon_as_they_hear") {
        return Ok(());
    }
    let mut cluster = Cluster::start_with(ClusterOptions::new(3).in_namespaces()).await?;
    let primary = cluster.primary().await?;
    let survivor = cluster.names().into_iter().find(|n| *n != primary);
    let survivor = survivor.context("a replica")?;
    let lost: Vec<String> = cluster
        .names()
        .into_iter()
        .filter(|n| *n != survivor)
        .collect();
    cluster
        .read_write(&primary)?
        .run("CREATE TABLE side (note text)")
        .await?;
    let id = cluster.status().await?.cluster_id.context("formed")?;
    wait::until("the table everywhere", WITHIN, || async {
        for name in cluster.names() {
            let _: i64 = cluster
                .direct(&name)?
                .value("SELECT count(*) FROM side")
                .await?;
        }
        Ok(())
    })
    .await?;
    for name in &lost {
        cluster.member_mut(name)?.kill(Part::Node)?;
    }
    fenced(&cluster, &survivor).await?;
    recover(&cluster, &survivor, &id).await?;
    cluster
        .direct(&survivor)?
        .run("INSERT INTO side VALUES ('kept')")
        .await?;

    // They come up together and reach everybody but the survivor.
    let index = cluster.index(&survivor)?;
    let network = cluster.network.as_ref().context("no namespaces")?;
    for name in &lost {
        network.cut(Cut::Between(index, cluster.index(name)?))?;
    }
    for name in &lost {
        cluster.member_mut(name)?.start()?;
    }
    let old = wait::until("a primary of the old generation", WITHIN, || async {
        let status = status_of(&cluster, &lost[0]).await?;
        anyhow::ensure!(status.generation == 1, "{status:?}");
        status.primary.context("none yet")
    })
    .await?;
    let direct = cluster.direct(&old)?;
    wait::until("the old generation serves", WITHIN, || async {
        direct.run("INSERT INTO side VALUES ('given up')").await
    })
    .await?;
    // What the command warned of: both serve, and nothing but the operator could have known.
    cluster
        .direct(&survivor)?
        .run("INSERT INTO side VALUES ('kept')")
        .await?;

    let healed = Instant::now();
    cluster.network.as_ref().context("no namespaces")?.heal()?;
    let stopped = wait::until("the old generation to stop", FENCED_WITHIN, || async {
        match direct.run("INSERT INTO side VALUES ('given up')").await {
            Ok(()) => {
                anyhow::bail!(
                    "it still writes {:?} after the network healed",
                    healed.elapsed()
                )
            }
            Err(_) => Ok(healed.elapsed()),
        }
    })
    .await?;
    eprintln!("the old primary took no write any more {stopped:?} after the network healed");

    let healthy = cluster.wait_healthy(WITHIN).await?;
    assert_eq!(
        (healthy.generation, healthy.primary.as_deref()),
        (2, Some(survivor.as_str()))
    );
    cluster
        .ends_in_one_primary_and_all_streaming(WITHIN)
        .await?;
    for name in &lost {
        ruled_out(&cluster, name)?;
    }
    for name in cluster.names() {
        let direct = cluster.direct(&name)?;
        let given_up = "SELECT count(*) FROM side WHERE note = 'given up'";
        let kept = "SELECT count(*) FROM side WHERE note = 'kept'";
        assert_eq!(direct.value::<i64>(given_up).await?, 0, "{name}");
        assert_eq!(direct.value::<i64>(kept).await?, 2, "{name}");
    }
    cluster.finish();
    Ok(())
}

/// Three of five are lost. Of the two that are left one goes on, and the other is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_other_one_that_is_left_joins_the_one_that_goes_on() -> anyhow::Result<()> {
    let mut cluster = Cluster::start_with(patient(5)).await?;
    let primary = cluster.primary().await?;
    let before = raft_ids(&cluster).await?;
    let id = cluster.status().await?.cluster_id.context("formed")?;
    let left: Vec<String> = cluster
        .names()
        .into_iter()
        .filter(|n| *n != primary)
        .take(2)
        .collect();
    let lost: Vec<String> = cluster
        .names()
        .into_iter()
        .filter(|n| !left.contains(n))
        .collect();
    cluster
        .read_write(&primary)?
        .run("CREATE TABLE pgha_load (writer int, number bigint)")
        .await?;
    for name in &lost {
        cluster.member_mut(name)?.kill(Part::Node)?;
    }
    for name in &left {
        fenced(&cluster, name).await?;
    }
    let (survivor, other) = (&left[0], &left[1]);
    let shown: serde_json::Value = cluster.ctl_of(survivor)?.json(&["quorum", "show"]).await?;
    assert_eq!(shown["obstacle"], serde_json::Value::Null, "{shown}");
    let members = shown["members"].as_array().context("members")?;
    let answer = members.iter().find(|m| m["name"] == other.as_str());
    let answer = answer.context("listed")?["answer"].to_string();
    assert!(
        answer.contains("member of generation 1, timeline 1, end of WAL"),
        "{answer}"
    );
    recover(&cluster, survivor, &id).await?;

    // Nobody starts it again, or tells it anything.
    wait::until("the other one to stream", WITHIN, || async {
        let status = status_of(&cluster, survivor).await?;
        let member = status.member(other).context("known")?;
        anyhow::ensure!(member.state == "streaming", "{member:?}");
        anyhow::ensure!(status.raft.voters.len() == 2, "{:?}", status.raft);
        Ok(())
    })
    .await?;
    ruled_out(&cluster, other)?;
    for name in &lost {
        cluster.member_mut(name)?.start()?;
    }
    all_are_back(&cluster, survivor, &before).await?;
    let history = cluster.history().await?;
    anyhow::ensure!(history.len() == 2, "{history:#?}");
    cluster.finish();
    Ok(())
}
