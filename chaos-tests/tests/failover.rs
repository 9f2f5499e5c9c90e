//! Every fault of a node, its processes, its network and its operator: with no operator each ends in
//! one primary and every other member streaming, and no acknowledged row is missing unreported.

use std::io::ErrorKind;
use std::time::Duration;

use anyhow::Context;
use pgha_chaos::faults::Fault;
use pgha_chaos::load::{Load, LoadOptions};
use pgha_chaos::member::Part;
use pgha_chaos::netns::{self, Cut};
use pgha_chaos::process::Process;
use pgha_chaos::trial::{self, Alone, survive};
use pgha_chaos::{Cluster, ClusterOptions, checker, wait};

/// As long as design 8's table and the issue of PostgreSQL's own timeouts ask for.
const FROZEN: Duration = Duration::from_secs(20);

const WITHIN: Duration = Duration::from_secs(90);

async fn endure(cluster: &mut Cluster, faults: &[Fault]) -> anyhow::Result<()> {
    for (writer, fault) in (1..).zip(faults) {
        survive(cluster, *fault, writer, &mut Alone).await?;
    }
    Ok(())
}

/// Everybody streams in the end, and of what was acknowledged nothing is missing that the journal does not tell.
async fn is_whole_again(cluster: Cluster, load: Load) -> anyhow::Result<()> {
    cluster.wait_healthy(WITHIN).await?;
    let record = load.stop().await?;
    cluster
        .ends_in_one_primary_and_all_streaming(WITHIN)
        .await?;
    trial::judge(&cluster, record, false).await?;
    cluster.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_processes() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let faults = [
        Fault::PostmasterKilled,
        Fault::SidecarKilled,
        Fault::GuardKilled,
        Fault::NodeKilled,
    ];
    endure(&mut cluster, &faults).await?;
    cluster.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_processes() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let faults = [Fault::SidecarFrozen(FROZEN), Fault::NodeFrozen(FROZEN)];
    endure(&mut cluster, &faults).await?;
    cluster.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_network() -> anyhow::Result<()> {
    if netns::skipped("a_cut_network") {
        return Ok(());
    }
    let mut cluster = Cluster::start_with(ClusterOptions::new(3).in_namespaces()).await?;
    endure(&mut cluster, &[Fault::NetworkCut(FROZEN)]).await?;
    cluster.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_behind_its_back() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(3).await?;
    endure(&mut cluster, &[Fault::StoppedByHand, Fault::PromotedByHand]).await?;
    cluster.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removed_data_directories() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(3).await?;
    endure(
        &mut cluster,
        &[Fault::ReplicaRemoved, Fault::PrimaryRemoved],
    )
    .await?;
    cluster.finish();
    Ok(())
}

/// What is left was the member's own: it is no other cluster's data that must not be touched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_was_removed_in_part_is_replaced() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let replica = Fault::ReplicaRemoved.victim(&cluster).await?;
    let postmaster = cluster.member(&replica)?.postmaster_pid()?;
    let postmaster = Process::of(postmaster).context("the postmaster runs")?;
    let directory = cluster.member(&replica)?.postgres_directory();
    std::fs::remove_dir_all(directory.join("global"))?;
    std::fs::remove_file(directory.join("PG_VERSION"))?;
    wait::until_true("PostgreSQL to be ended", WITHIN, || {
        !postmaster.is_running()
    })
    .await?;
    cluster
        .ends_in_one_primary_and_all_streaming(WITHIN)
        .await?;
    cluster.finish();
    Ok(())
}

/// What nobody else has goes with the directory; only the sidecar, which had it open, can still tell (P3).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_removed_directory_alone_had_is_told() -> anyhow::Result<()> {
    if netns::skipped("what_a_removed_directory_alone_had_is_told") {
        return Ok(());
    }
    let cluster = Cluster::start_with(ClusterOptions::new(3).in_namespaces()).await?;
    let primary = cluster.primary().await?;
    let targets = cluster.read_write_except(&[&primary])?;
    let load = Load::start(LoadOptions::new(1, targets)).await?;
    load.advance(60, WITHIN).await?;
    let index = cluster.index(&primary)?;
    let network = cluster.network.as_ref().context("no namespaces")?;
    for other in (0..3).filter(|other| *other != index) {
        network.cut(Cut::Replication(index, other))?;
    }
    load.advance(30, WITHIN).await?;
    cluster.member(&primary)?.remove_postgres_directory()?;
    load.advance(30, WITHIN).await?;
    cluster.network.as_ref().context("no namespaces")?.heal()?;
    cluster.wait_healthy(WITHIN).await?;
    let record = load.stop().await?;
    cluster
        .ends_in_one_primary_and_all_streaming(WITHIN)
        .await?;
    let survivor = cluster.direct(&cluster.primary().await?)?;
    let present = checker::read_rows(&survivor).await?;
    let verdict = checker::judge(std::slice::from_ref(&record), &present)?;
    assert!(verdict.lost.len() >= 30, "{} rows", verdict.lost.len());
    trial::judge(&cluster, record, false).await?;
    let journal = cluster.history().await?;
    let told = journal.iter().any(|entry| entry.lost_final == Some(true));
    assert!(told, "{journal:#?}");
    cluster.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_at_once() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(3).await?;
    endure(&mut cluster, &[Fault::AllKilled]).await?;
    cluster.finish();
    Ok(())
}

/// Nobody is left who heard how far the primary came, but what it told is on the disks of those who are
/// back: no operator is needed where they lack no more than they may (P3).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_are_back_after_all_were_gone() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let primary = cluster.primary().await?;
    let targets = cluster.read_write_except(&[&primary])?;
    let load = Load::start(LoadOptions::new(1, targets)).await?;
    load.advance(60, WITHIN).await?;
    for member in &mut cluster.members {
        member.kill(Part::Node)?;
    }
    for member in &mut cluster.members {
        if member.name != primary {
            member.start()?;
        }
    }
    load.advance(30, WITHIN).await?;
    assert_ne!(cluster.primary().await?, primary);
    cluster.member_mut(&primary)?.start()?;
    is_whole_again(cluster, load).await
}

/// What pgha writes before each start cannot be written, as on a full disk: who is to restart in
/// place cannot even try, and holds its lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_cannot_be_started_again() -> anyhow::Result<()> {
    let options = ClusterOptions::new(3).initial("on_primary_crash", "restart");
    let mut cluster = Cluster::start_with(options).await?;
    let primary = cluster.primary().await?;
    let targets = cluster.read_write_except(&[&primary])?;
    let load = Load::start(LoadOptions::new(1, targets)).await?;
    load.advance(60, WITHIN).await?;
    let settings = cluster
        .member(&primary)?
        .postgres_directory()
        .join("pgha.conf");
    std::fs::remove_file(&settings)?;
    std::fs::create_dir_all(settings.join("in the way"))?;
    cluster.member_mut(&primary)?.kill(Part::Postmaster)?;
    load.advance(30, WITHIN).await?;
    assert_ne!(cluster.primary().await?, primary);
    match std::fs::remove_dir_all(&settings) {
        // It was cloned meanwhile, and what is in the way is aside with the rest.
        Err(error) if matches!(error.kind(), ErrorKind::NotADirectory | ErrorKind::NotFound) => {}
        outcome => outcome?,
    }
    is_whole_again(cluster, load).await
}

/// Its sessions go on, the one that probes it among them; who comes anew waits for ever (faults 3).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postmaster_that_stands_still() -> anyhow::Result<()> {
    let mut cluster = Cluster::prepare(ClusterOptions::new(3))?;
    for member in &mut cluster.members {
        member.set_flag("--primary-hang-ms", "3000");
        member.start()?;
    }
    cluster.wait_healthy(WITHIN).await?;
    let primary = cluster.primary().await?;
    let targets = cluster.read_write_except(&[&primary])?;
    let load = Load::start(LoadOptions::new(1, targets)).await?;
    load.advance(60, WITHIN).await?;
    let frozen = cluster.member(&primary)?.postmaster_pid()?;
    let frozen = Process::of(frozen).context("the postmaster runs")?;
    cluster.member(&primary)?.freeze(Part::Postmaster)?;
    // Who is primary then is open: on the same host it is another PostgreSQL.
    wait::until_true("the frozen one to be ended", WITHIN, || {
        !frozen.is_running()
    })
    .await?;
    let port = cluster.read_write(&primary)?;
    wait::until("new clients are let in", WITHIN, || port.run("SELECT 1")).await?;
    load.advance(30, WITHIN).await?;
    cluster.wait_healthy(WITHIN).await?;
    let record = load.stop().await?;
    cluster
        .ends_in_one_primary_and_all_streaming(WITHIN)
        .await?;
    let log = cluster.member(&primary)?.log_text();
    assert!(log.contains("no new client is let in"), "{log}");
    trial::judge(&cluster, record, false).await?;
    cluster.finish();
    Ok(())
}
