//! A cluster forms from peer lists alone, in any order of events.

use std::time::Duration;

use anyhow::Context;
use pgha_chaos::cluster::FORMED_WITHIN;
use pgha_chaos::member::Part;
use pgha_chaos::secrecy::{self, ProcessWatch};
use pgha_chaos::{Cluster, ClusterOptions, plain, wait};

/// A look that must not find what it looks for lasts this long.
const QUIET: Duration = Duration::from_secs(3);
const ENDED_WITHIN: Duration = Duration::from_secs(60);

async fn writes_arrive_everywhere(cluster: &Cluster) -> anyhow::Result<()> {
    let any = cluster.members.first().context("members")?.name.clone();
    let port = cluster.read_write(&any)?;
    port.run("CREATE TABLE formed AS SELECT generate_series(1, 100) AS n")
        .await?;
    for name in cluster.names() {
        let direct = cluster.direct(&name)?;
        wait::until(&format!("100 rows on {name}"), ENDED_WITHIN, || async {
            let rows: i64 = direct.value("SELECT count(*) FROM formed").await?;
            anyhow::ensure!(rows == 100, "{rows} rows");
            Ok(())
        })
        .await?;
    }
    cluster
        .ends_in_one_primary_and_all_streaming(ENDED_WITHIN)
        .await
        .map(drop)
}

/// Before formation: no identity, no primary, and a reason that names who is missing.
async fn waits_for(cluster: &Cluster, asked: &str, missing: &str) -> anyhow::Result<()> {
    let ctl = cluster.ctl_of(asked)?;
    wait::until(
        &format!("{asked} to name {missing}"),
        ENDED_WITHIN,
        || async {
            let answer = ctl.done(&["--output", "json", "status"]).await?;
            let status: pgha_chaos::status::Status = serde_json::from_str(&answer.stdout)?;
            anyhow::ensure!(
                status.cluster_id.is_none() && status.primary.is_none(),
                "{status:?}"
            );
            anyhow::ensure!(
                status.epoch.is_none() && status.reason.is_some(),
                "{status:?}"
            );
            anyhow::ensure!(answer.stdout.contains(missing), "{}", answer.stdout);
            Ok(())
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_in_reverse_order_with_one_late() -> anyhow::Result<()> {
    let options = secrecy::talkative(ClusterOptions::new(3));
    let mut cluster = Cluster::prepare(options)?;
    let processes = ProcessWatch::begin(cluster.scratch.path());
    cluster.members[2].start()?;
    waits_for(&cluster, "n3", "n1").await?;
    refused_before_there_is_a_cluster(&cluster, "n3").await?;
    cluster.members[1].start()?;
    waits_for(&cluster, "n2", "n1").await?;
    let early = cluster.read_write("n2")?;
    let early = tokio::spawn(async move { early.connect(FORMED_WITHIN).await.map(drop) });
    for member in &cluster.members {
        let there = member.postgres_directory().join("PG_VERSION").exists();
        assert!(
            !there,
            "{} has a PostgreSQL before the cluster has formed",
            member.name
        );
    }
    cluster.members[0].start()?;
    early.await?.context("held until there is a primary")?;
    cluster.wait_healthy(FORMED_WITHIN).await?;
    writes_arrive_everywhere(&cluster).await?;
    the_account_is_superuser_on_the_socket(&cluster)?;
    the_password_is_nowhere(&cluster)?;
    let secret = secrecy::replication_secret(&cluster)?;
    for place in secrecy::places(&cluster, processes).await? {
        place.lacks(&secret)?;
    }
    cluster.finish();
    Ok(())
}

/// A client is held, and not for ever.
async fn refused_before_there_is_a_cluster(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    for port in [cluster.read_write(name)?, cluster.read_only(name)?] {
        let refusal = port.connect(ENDED_WITHIN).await.err();
        let refusal = refusal.context("served by nobody")?;
        anyhow::ensure!(refusal.code() == Some("57P03"), "{refusal}");
    }
    Ok(())
}

fn the_account_is_superuser_on_the_socket(cluster: &Cluster) -> anyhow::Result<()> {
    let member = cluster.members.first().context("members")?;
    let output = plain::program(
        &cluster.account,
        "psql",
        &[
            "-X",
            "-At",
            "-w",
            "-d",
            "postgres",
            "-U",
            "postgres",
            "-h",
            &member.directory.join("run").display().to_string(),
            "-p",
            &member.addresses.postgres.port().to_string(),
            "-c",
            "SELECT rolsuper FROM pg_roles WHERE rolname = current_user",
        ],
    )?;
    anyhow::ensure!(output.stdout == b"t\n", "{output:?}");
    Ok(())
}

/// The superuser's password is in no command line, no log and no file that others may read.
fn the_password_is_nowhere(cluster: &Cluster) -> anyhow::Result<()> {
    let password = std::fs::read_to_string(cluster.scratch.path().join("password"))?;
    for member in &cluster.members {
        anyhow::ensure!(
            !member.log_text().contains(&password),
            "in the log of {}",
            member.name
        );
        for process in member.processes() {
            anyhow::ensure!(!process.command.contains(&password), "{process:?}");
            anyhow::ensure!(!process.command.contains("password="), "{process:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_restarted_in_the_middle() -> anyhow::Result<()> {
    let mut cluster = Cluster::prepare(ClusterOptions::new(3))?;
    for member in &mut cluster.members {
        member.start()?;
    }
    // Once the store is there the member takes part; PostgreSQL comes later.
    let store = cluster.members[1].raft_directory();
    wait::until_true("the store of n2", ENDED_WITHIN, || store.exists()).await?;
    cluster.members[1].kill(Part::Sidecar)?;
    cluster.members[1].start()?;
    // And the one that runs initdb, in the middle of it.
    let directory = cluster.members[0].postgres_directory();
    wait::until_true("initdb on n1", ENDED_WITHIN, || directory.exists()).await?;
    cluster.members[0].kill(Part::Node)?;
    cluster.members[0].start()?;
    cluster.wait_healthy(FORMED_WITHIN).await?;
    writes_arrive_everywhere(&cluster).await?;
    cluster.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_members() -> anyhow::Result<()> {
    let cluster = Cluster::start(5).await?;
    writes_arrive_everywhere(&cluster).await?;
    cluster.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(1).await?;
    writes_arrive_everywhere(&cluster).await?;
    let status = cluster.members[0].stop(Duration::from_secs(40)).await?;
    assert_eq!(
        status.code(),
        Some(0),
        "SIGTERM ends it cleanly where nobody can take over"
    );
    assert!(cluster.members[0].processes().is_empty());
    cluster.members[0].start()?;
    cluster.wait_healthy(FORMED_WITHIN).await?;
    let rows: i64 = cluster
        .read_write("n1")?
        .value("SELECT count(*) FROM formed")
        .await?;
    assert_eq!(rows, 100);
    cluster.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn differing_peer_lists_form_nothing_until_they_agree() -> anyhow::Result<()> {
    let mut cluster = Cluster::prepare(ClusterOptions::new(3))?;
    let elsewhere = cluster.ports.take()?;
    let right = cluster.members[2].flags.clone();
    let n2 = cluster.members[1].addresses.raft;
    for flag in &mut cluster.members[2].flags {
        *flag = flag.replace(&format!("n2={n2}"), &format!("n2=127.0.0.1:{elsewhere}"));
    }
    assert_ne!(cluster.members[2].flags, right);
    for member in &mut cluster.members {
        member.start()?;
    }
    waits_for(&cluster, "n1", "n3").await?;
    let ctl = cluster.ctl_of("n1")?;
    wait::until("the difference to be told", ENDED_WITHIN, || async {
        let status: pgha_chaos::status::Status = ctl.json(&["status"]).await?;
        let (reason, detail) = (status.reason, status.detail.unwrap_or_default());
        anyhow::ensure!(reason.as_deref() == Some("peer_lists_differ"), "{reason:?}");
        let lists = [format!("n2={n2}"), format!("n2=127.0.0.1:{elsewhere}")];
        anyhow::ensure!(lists.iter().all(|list| detail.contains(list)), "{detail}");
        Ok(())
    })
    .await?;
    tokio::time::sleep(QUIET).await;
    for member in &mut cluster.members {
        assert!(member.is_up(), "{} gave up", member.name);
        let there = member.postgres_directory().join("PG_VERSION").exists();
        assert!(
            !there,
            "{} formed something with differing lists",
            member.name
        );
    }
    cluster.members[2].stop(Duration::from_secs(20)).await?;
    cluster.members[2].flags = right;
    cluster.members[2].start()?;
    cluster.wait_healthy(FORMED_WITHIN).await?;
    writes_arrive_everywhere(&cluster).await?;
    cluster.finish();
    Ok(())
}
