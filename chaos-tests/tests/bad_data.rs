//! Data that is not the cluster's, and no room for its own: the sidecar stays up, `status` says in one
//! line what is the matter, and nothing is touched.

use std::path::Path;
use std::time::Duration;

use pgha_chaos::footprint::Footprint;
use pgha_chaos::member::Part;
use pgha_chaos::mount::{self, SmallDisk};
use pgha_chaos::plain::Plain;
use pgha_chaos::told::said_in_one_line;
use pgha_chaos::{Cluster, ClusterOptions, skip};

const WITHIN: Duration = Duration::from_secs(90);
/// A look that must not find what it looks for lasts this long.
const QUIET: Duration = Duration::from_secs(2);

/// Put there by mistake while the node was down: it is neither started nor cloned over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_directory_of_another_cluster() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let old = cluster.primary().await?;
    let status = cluster.status().await?;
    let mine = status.system_identifier.expect("formed");
    let mine = mine.as_str().expect("text").to_owned();
    let port = cluster.ports.take()?;
    let account = cluster.account.clone();
    let member = cluster.member_mut(&old)?;
    let (directory, aside) = (
        member.postgres_directory(),
        member.directory.join("elsewhere"),
    );
    member.kill(Part::Node)?;
    std::fs::rename(&directory, &aside)?;
    let foreign = Plain::init(&account, &directory, port)?;
    let before = Footprint::of(&directory)?;
    member.start()?;

    let new = cluster.wait_primary_other_than(&old, WITHIN).await?;
    let shown = format!("postgres.data_dir = {}", directory.display());
    let words = [shown.as_str(), mine.as_str(), "move it away"];
    cluster
        .shows(&old, ("failed", "data_foreign"), &words)
        .await?;
    cluster.goes_on(&new).await?;
    tokio::time::sleep(QUIET).await;
    before.is_unchanged(&directory)?;
    assert!(cluster.member(&old)?.postgres_processes().is_empty());

    let member = cluster.member_mut(&old)?;
    member.stop(WITHIN).await?;
    before.is_unchanged(&directory)?;
    drop(foreign);
    std::fs::remove_dir_all(&directory)?;
    std::fs::rename(&aside, &directory)?;
    member.start()?;
    cluster.is_whole(2).await?;
    cluster.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_directories_of_different_clusters_at_formation() -> anyhow::Result<()> {
    let mut cluster = Cluster::prepare(ClusterOptions::new(3))?;
    let mut found = Vec::new();
    for index in 0..2 {
        let directory = cluster.members[index].postgres_directory();
        let port = cluster.ports.take()?;
        let plain = Plain::init(&cluster.account, &directory, port)?;
        let before = Footprint::of(&directory)?;
        found.push((plain, before, directory));
    }
    for member in &mut cluster.members {
        member.start()?;
    }
    for member in &cluster.members {
        let reason = "system_identifiers_differ";
        let words = ["n1", "n2", "different clusters", "move the wrong one away"];
        let at = member.addresses.raft;
        let ctl = cluster.ctl().through(&at.to_string());
        cluster.waits_for(at, reason, &words[..2]).await?;
        said_in_one_line(&ctl.done(&["status"]).await?.stdout, reason, &words)?;
    }
    tokio::time::sleep(QUIET).await;
    cluster.members[2].formed_nothing()?;
    for member in &mut cluster.members {
        assert!(member.is_up(), "{} gave up", member.name);
        member.stop(WITHIN).await?;
    }
    for (plain, before, directory) in found {
        before.is_unchanged(&directory)?;
        drop(plain);
        std::fs::rename(&directory, directory.with_file_name("elsewhere"))?;
    }
    for member in &mut cluster.members {
        member.start()?;
    }
    cluster.is_whole(1).await?;
    cluster.finish();
    Ok(())
}

/// The clone says so, is tried again, and is done once there is room; nobody else notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_is_full_while_cloning() -> anyhow::Result<()> {
    if let Some(reason) = mount::obstacle() {
        skip::say("the_disk_is_full_while_cloning", reason);
        return Ok(());
    }
    let mut cluster = Cluster::prepare(ClusterOptions::new(3))?;
    let mount = cluster.scratch.path().join("small");
    cluster.account.directory(&mount, 0o700)?;
    let disk = SmallDisk::over(&mount, 10)?;
    cluster.account.own(&mount)?;
    let directory = mount.join("postgres");
    // n1 makes the first data directory.
    let member = &mut cluster.members[2];
    member
        .flags
        .extend(["--pg-data-dir".to_owned(), directory.display().to_string()]);
    for member in &mut cluster.members {
        member.start()?;
    }
    let words = ["ran out of disk space", "enlarge the disk"];
    cluster
        .shows("n3", ("cloning", "job_failed"), &words)
        .await?;
    assert!(cluster.members[2].is_up());
    cluster.goes_on("n3").await?;
    is_missing_or_empty(&directory)?;

    disk.grow(2000)?;
    cluster.is_whole(1).await?;
    cluster.members[2].stop(WITHIN).await?;
    cluster.finish();
    Ok(())
}

fn is_missing_or_empty(directory: &Path) -> anyhow::Result<()> {
    let there = directory.join("PG_VERSION").exists();
    anyhow::ensure!(!there, "half a copy is in {}", directory.display());
    Ok(())
}
