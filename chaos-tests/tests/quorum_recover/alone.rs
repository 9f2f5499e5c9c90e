//! Two of three are lost, and the third goes on.

use std::time::Instant;

use anyhow::Context;
use pgha_chaos::load::{Load, LoadOptions};
use pgha_chaos::member::Part;
use pgha_chaos::process::Process;
use pgha_chaos::{Cluster, checker, wait};

use crate::rig::{WITHIN, all_are_back, fenced, patient, raft_ids, recover, rows, status_of};

/// What is asked wrongly is refused, and changes nothing.
async fn refusals(cluster: &Cluster, survivor: &str, id: &str) -> anyhow::Result<()> {
    let ctl = cluster.ctl_of(survivor)?;
    let wrong = ["quorum", "recover", "--confirm", "no-such-cluster", "--yes"];
    ctl.run(&wrong)
        .await?
        .refused(2, &["no-such-cluster", id])?;
    let unasked = ["quorum", "recover", "--confirm", id];
    ctl.run(&unasked)
        .await?
        .refused(2, &["terminal", "--yes"])?;
    let everybody = ["quorum", "recover", "--confirm", id, "--yes"];
    let answer = cluster.ctl().run(&everybody).await?;
    answer.refused(2, &["3 endpoints", "--endpoint"])?;
    let bare = ctl.run(&["quorum", "recover", "--yes"]).await?;
    anyhow::ensure!(
        bare.code == 2 && bare.stderr.contains("--confirm"),
        "{bare:?}"
    );
    let status = status_of(cluster, survivor).await?;
    anyhow::ensure!(
        status.generation == 1 && status.primary.is_none(),
        "{status:?}"
    );
    Ok(())
}

/// Two of three are lost; the third goes on, and the two come back after all.
async fn goes_on_alone(survivor_was_primary: bool) -> anyhow::Result<()> {
    let mut cluster = Cluster::start_with(patient(3)).await?;
    let primary = cluster.primary().await?;
    let replicas: Vec<String> = cluster
        .names()
        .into_iter()
        .filter(|n| *n != primary)
        .collect();
    let (survivor, lost) = if survivor_was_primary {
        (primary.clone(), replicas)
    } else {
        (
            replicas[0].clone(),
            vec![replicas[1].clone(), primary.clone()],
        )
    };
    let before = raft_ids(&cluster).await?;
    let id = cluster.status().await?.cluster_id.context("formed")?;
    let load = Load::start(LoadOptions::new(1, cluster.read_write_except(&[])?)).await?;
    load.advance(100, WITHIN).await?;

    // Where a quorum is, there is nothing to recover.
    let order = ["quorum", "recover", "--confirm", &id, "--yes"];
    let answer = cluster.ctl_of(&survivor)?.run(&order).await?;
    answer.refused(1, &["a quorum answers"])?;

    for name in &lost {
        cluster.member_mut(name)?.kill(Part::Node)?;
    }
    let record = load.stop().await?;
    let status = fenced(&cluster, &survivor).await?;
    let way_out = "pgha-ctl quorum recover";
    assert_eq!(status.reason.as_deref(), Some("no_quorum"));
    let table = cluster.ctl_of(&survivor)?.done(&["status"]).await?.stdout;
    assert!(table.contains(way_out), "{table}");
    assert!(cluster.member(&survivor)?.log_text().contains(way_out));
    let doctor = cluster.ctl_of(&survivor)?.run(&["doctor"]).await?;
    assert!(
        doctor.code == 1 && doctor.stdout.contains(way_out),
        "{doctor:?}"
    );
    let kept = rows(&cluster, &survivor).await?;
    assert!(kept >= 90, "{kept} rows");
    let written = cluster
        .direct(&survivor)?
        .run("CREATE TABLE t (n int)")
        .await;
    assert!(written.is_err(), "it is read-only");
    refusals(&cluster, &survivor, &id).await?;
    let shown: serde_json::Value = cluster.ctl_of(&survivor)?.json(&["quorum", "show"]).await?;
    assert_eq!(shown["obstacle"], serde_json::Value::Null, "{shown}");
    assert_eq!(shown["last_primary"], primary.as_str(), "{shown}");
    eprintln!(
        "{}",
        cluster
            .ctl_of(&survivor)?
            .done(&["quorum", "show"])
            .await?
            .stdout
    );

    let pid = cluster.member(&survivor)?.sidecar_pid()?;
    let guard = cluster.member(&survivor)?.guard_pid()?;
    let asked = Instant::now();
    let done = recover(&cluster, &survivor, &id).await?;
    eprintln!("recovered in {:?}: {done}", asked.elapsed());
    let status = status_of(&cluster, &survivor).await?;
    assert_eq!(status.generation, 2);
    assert!(status.epoch > Some(1), "{status:?}");
    assert_eq!(status.raft.voters.join(","), survivor);
    for name in &lost {
        let member = status.member(name).context("still known")?;
        assert_eq!(member.reason.as_deref(), Some("ruled_out"), "{member:?}");
    }
    assert!(rows(&cluster, &survivor).await? >= kept);
    let port = cluster.read_write(&survivor)?;
    port.run("CREATE TABLE went_on (n int); INSERT INTO went_on VALUES (1)")
        .await?;
    // The same process as far as a service manager sees, and no dead child of it is left.
    assert_eq!(cluster.member(&survivor)?.sidecar_pid()?, pid);
    assert!(cluster.member_mut(&survivor)?.is_up());
    wait::until_true("the old guard to be noticed", WITHIN, || {
        Process::of(guard).is_none_or(|p| p.parent != pid)
    })
    .await?;
    let again = cluster.ctl_of(&survivor)?.run(&order).await?;
    again.refused(1, &["a quorum answers"])?;

    for name in &lost {
        cluster.member_mut(name)?.start()?;
    }
    all_are_back(&cluster, &survivor, &before).await?;
    // Their return cost the survivor nothing: it served all the time.
    let history = cluster.history().await?;
    let causes: Vec<&str> = history.iter().map(|entry| entry.cause.as_str()).collect();
    assert_eq!(causes, ["formation", "quorum_recovered"], "{history:#?}");
    let present = checker::read_rows(&cluster.direct(&survivor)?).await?;
    let verdict = checker::judge(&[record], &present)?;
    if survivor_was_primary {
        verdict.nothing_lost()?;
    } else {
        // All the WAL of one connection's rows: what a replica may lack.
        verdict.losses_reported(&cluster.history().await?, 16 << 20)?;
    }
    // The new votes count: two of them are a quorum without the survivor.
    cluster.member_mut(&survivor)?.kill(Part::Node)?;
    let next = cluster.wait_primary_other_than(&survivor, WITHIN).await?;
    let port = cluster.read_write(&next)?;
    port.run("INSERT INTO went_on VALUES (2)").await?;
    cluster.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_goes_on_alone() -> anyhow::Result<()> {
    goes_on_alone(false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_goes_on_alone() -> anyhow::Result<()> {
    goes_on_alone(true).await
}
