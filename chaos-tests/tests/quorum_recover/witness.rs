//! A witness has a vote and no data.

use anyhow::Context;
use pgha_chaos::member::Part;
use pgha_chaos::status::Status;
use pgha_chaos::{Cluster, ClusterOptions, wait};

use crate::rig::{WITHIN, fenced, patient, recover, ruled_out, status_of};

/// A witness has nothing to go on with, and a sidecar without a cluster has nothing to recover.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_data_does_not_go_on() -> anyhow::Result<()> {
    let mut cluster = Cluster::prepare(ClusterOptions::new(3))?;
    cluster.member_mut("n3")?.flags.push("--witness".to_owned());
    cluster.member_mut("n3")?.start()?;
    let order = ["quorum", "recover", "--confirm", "any", "--yes"];
    wait::until("n3 to answer", WITHIN, || async {
        let answer = cluster.ctl_of("n3")?.run(&order).await?;
        answer.refused(1, &["no cluster yet"])
    })
    .await?;
    cluster.restart_fallen()?;
    let id = wait::until("a cluster with a primary", WITHIN, || async {
        let status = status_of(&cluster, "n3").await?;
        status.primary.context("no primary yet")?;
        status.cluster_id.context("no cluster yet")
    })
    .await?;
    for name in ["n1", "n2"] {
        cluster.member_mut(name)?.kill(Part::Node)?;
    }
    let order = ["quorum", "recover", "--confirm", &id, "--yes"];
    let answer = cluster.ctl_of("n3")?.run(&order).await?;
    answer.refused(1, &["n3 is a witness and has no data"])?;
    assert_eq!(status_of(&cluster, "n3").await?.generation, 1);
    cluster.finish();
    Ok(())
}

/// Two votes of three are lost, and one of them is a witness': it comes back as one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_comes_back_too() -> anyhow::Result<()> {
    let mut cluster = Cluster::prepare(patient(3))?;
    cluster.member_mut("n3")?.flags.push("--witness".to_owned());
    cluster.restart_fallen()?;
    let whole = |cluster: &Cluster, generation: u64| {
        let ctl = cluster.ctl();
        async move {
            wait::until("a whole cluster", WITHIN, || async {
                let status: Status = ctl.json(&["status"]).await?;
                let state = |name: &str| {
                    status
                        .member(name)
                        .map(|m| (m.role.as_str(), m.state.as_str()))
                };
                let primary = status.primary.clone().context("no primary")?;
                let replica = if primary == "n1" { "n2" } else { "n1" };
                anyhow::ensure!(
                    state(replica) == Some(("replica", "streaming")),
                    "{status:?}"
                );
                anyhow::ensure!(state("n3") == Some(("witness", "running")), "{status:?}");
                anyhow::ensure!(status.raft.voters.len() == 3, "{:?}", status.raft);
                anyhow::ensure!(status.generation == generation, "{status:?}");
                Ok((
                    primary,
                    replica.to_owned(),
                    status.cluster_id.context("formed")?,
                ))
            })
            .await
        }
    };
    let (primary, survivor, id) = whole(&cluster, 1).await?;
    for name in ["n3", primary.as_str()] {
        cluster.member_mut(name)?.kill(Part::Node)?;
    }
    fenced(&cluster, &survivor).await?;
    recover(&cluster, &survivor, &id).await?;
    cluster.restart_fallen()?;
    let (now, ..) = whole(&cluster, 2).await?;
    assert_eq!(now, survivor);
    for name in ["n3", primary.as_str()] {
        ruled_out(&cluster, name)?;
    }
    cluster.finish();
    Ok(())
}
