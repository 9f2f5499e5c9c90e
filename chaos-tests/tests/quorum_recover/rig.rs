//! What these tests share: orders, and the states to wait for.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use pgha_chaos::status::Status;
use pgha_chaos::{Cluster, ClusterOptions, http, wait};

pub(crate) const WITHIN: Duration = Duration::from_secs(90);

/// A lease that a busy machine does not end: here it is counted how often the primary changed.
pub(crate) fn patient(members: usize) -> ClusterOptions {
    ClusterOptions::new(members).initial("lease_ms", 4000)
}

/// The view of one member alone.
pub(crate) async fn status_of(cluster: &Cluster, name: &str) -> anyhow::Result<Status> {
    cluster.ctl_of(name)?.json(&["status"]).await
}

/// Raft ids by name, from the metrics of each member.
pub(crate) async fn raft_ids(cluster: &Cluster) -> anyhow::Result<BTreeMap<String, u64>> {
    wait::until("every member's raft id", WITHIN, || async {
        let mut ids = BTreeMap::new();
        for member in &cluster.members {
            let text = http::get(member.addresses.http, "/metrics").await?;
            let value = http::metric(&text.body, "pgha_raft_id");
            let value = value.with_context(|| format!("no pgha_raft_id in {}", text.body))?;
            ids.insert(member.name.clone(), value as u64);
        }
        Ok(ids)
    })
    .await
}

/// Waits until the member serves reads as a fenced standby and says why; its status.
pub(crate) async fn fenced(cluster: &Cluster, name: &str) -> anyhow::Result<Status> {
    wait::until(&format!("{name} fenced"), WITHIN, || async {
        let status = status_of(cluster, name).await?;
        let member = status.member(name).context("it is a member")?;
        let seen = (member.state.as_str(), member.reason.as_deref());
        anyhow::ensure!(seen == ("fenced", Some("no_quorum")), "{member:?}");
        anyhow::ensure!(member.received_lsn.is_some(), "{member:?}");
        anyhow::ensure!(!status.quorum && status.primary.is_none(), "{status:?}");
        Ok(status)
    })
    .await
}

pub(crate) async fn rows(cluster: &Cluster, name: &str) -> anyhow::Result<i64> {
    let direct = cluster.direct(name)?;
    direct.value("SELECT count(*) FROM pgha_load").await
}

/// `quorum recover` on that member, as a script would.
pub(crate) async fn recover(
    cluster: &Cluster,
    name: &str,
    id: &str,
) -> anyhow::Result<serde_json::Value> {
    let order = ["quorum", "recover", "--confirm", id, "--yes"];
    cluster.ctl_of(name)?.json(&order).await
}

/// Where a store was moved that has no vote any more, marked with the generation that took it.
pub(crate) fn ruled_out(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    let aside = cluster.member(name)?.directory.join("raft.quarantined-1");
    let mark = std::fs::read_to_string(aside.join("ruled-out"))
        .with_context(|| format!("{name} has not moved its store aside"))?;
    anyhow::ensure!(mark == "2", "{name}: {mark}");
    anyhow::ensure!(
        aside.join("store").exists(),
        "{name}: the store was not kept"
    );
    Ok(())
}

/// All three stream and vote, those who came back under ids that nobody ever had.
pub(crate) async fn all_are_back(
    cluster: &Cluster,
    survivor: &str,
    before: &BTreeMap<String, u64>,
) -> anyhow::Result<()> {
    let healthy = cluster.wait_healthy(WITHIN).await?;
    assert_eq!(healthy.generation, 2);
    assert_eq!(healthy.primary.as_deref(), Some(survivor));
    cluster
        .ends_in_one_primary_and_all_streaming(WITHIN)
        .await?;
    let after = raft_ids(cluster).await?;
    let highest = before.values().max().context("members")?;
    for (name, id) in &after {
        if name == survivor {
            assert_eq!(id, &before[name]);
        } else {
            assert!(id > highest, "{name} has raft id {id}, before {before:?}");
            ruled_out(cluster, name)?;
        }
    }
    Ok(())
}
