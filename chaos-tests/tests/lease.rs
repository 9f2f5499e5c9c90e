//! The lease is lost neither to a slow disk of the Raft store, nor to busy cores, nor to the death
//! of the raft leader: nothing moves.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use pgha_chaos::load::{Load, LoadOptions};
use pgha_chaos::member::Part;
use pgha_chaos::options::ClusterOptions;
use pgha_chaos::{Cluster, trial, wait};

const WITHIN: Duration = Duration::from_secs(60);
const STALL: Duration = Duration::from_secs(5);
const BUSY: Duration = Duration::from_secs(10);

/// Ends a helper with its test.
struct Helper(Child);

impl Drop for Helper {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Primary, epoch and timeline.
type Placement = (Option<String>, Option<u64>, Option<u32>);

async fn placement(cluster: &Cluster) -> anyhow::Result<Placement> {
    let status = cluster.status().await?;
    Ok((status.primary, status.epoch, status.timeline))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_moves() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let primary = cluster.primary().await?;
    let before = placement(&cluster).await?;
    let load = Load::start(LoadOptions::new(1, vec![cluster.read_write(&primary)?])).await?;
    load.advance(60, WITHIN).await?;

    stalled_stores(&cluster).await?;
    assert_eq!(
        placement(&cluster).await?,
        before,
        "a stalled disk of the store moved something"
    );
    busy_cores().await?;
    cluster.wait_healthy(WITHIN).await?;
    assert_eq!(
        placement(&cluster).await?,
        before,
        "busy cores moved something"
    );
    raft_leader_killed(&mut cluster, &primary).await?;
    load.advance(60, WITHIN).await?;
    assert_eq!(
        placement(&cluster).await?,
        before,
        "the raft leader's death moved something"
    );

    let record = load.stop().await?;
    assert!(
        record.failed_connections.is_empty(),
        "{:?}",
        record.failed_connections
    );
    let first = record
        .attempts
        .iter()
        .find(|row| row.before_commit.is_none());
    assert!(first.is_none(), "a write failed: {first:?}");
    cluster
        .ends_in_one_primary_and_all_streaming(WITHIN)
        .await?;
    trial::judge(&cluster, record, true).await?;
    cluster.finish();
    Ok(())
}

/// What a hypervisor does to a machine: nobody runs for a while, and whoever does first must not take
/// the others for dead. The pause is longer than a guard may be silent, and shorter than the lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_of_the_whole_node_is_survived() -> anyhow::Result<()> {
    const LEASE_MS: u32 = 6000;
    const PAUSE: Duration = Duration::from_millis(2300);
    const PAUSES: usize = 4;
    let options = ClusterOptions::new(3).initial("lease_ms", LEASE_MS);
    let cluster = Cluster::start_with(options).await?;
    let primary = cluster.primary().await?;
    let before = placement(&cluster).await?;
    let started = "select pg_postmaster_start_time()::text";
    let since: String = cluster.direct(&primary)?.value(started).await?;
    let load = Load::start(LoadOptions::new(1, vec![cluster.read_write(&primary)?])).await?;
    for _ in 0..PAUSES {
        cluster.member(&primary)?.freeze(Part::Node)?;
        tokio::time::sleep(PAUSE).await;
        cluster.member(&primary)?.thaw(Part::Node)?;
        load.advance(60, WITHIN).await?;
    }
    let record = load.stop().await?;
    cluster.wait_healthy(WITHIN).await?;
    assert_eq!(
        placement(&cluster).await?,
        before,
        "a pause moved something"
    );
    let still: String = cluster.direct(&primary)?.value(started).await?;
    assert_eq!(still, since, "PostgreSQL was started anew");
    trial::judge(&cluster, record, true).await?;
    cluster.finish();
    Ok(())
}

/// Each flush of each sidecar takes five seconds while entries are to be written.
async fn stalled_stores(cluster: &Cluster) -> anyhow::Result<()> {
    let mut tracers = Vec::new();
    for member in &cluster.members {
        let log = cluster
            .scratch
            .path()
            .join(format!("{}.strace", member.name));
        let delay = format!("inject=fsync,fdatasync:delay_enter={}", STALL.as_micros());
        let tracer = Command::new("strace")
            .args(["-f", "-p", &member.sidecar_pid()?.to_string(), "-o"])
            .arg(&log)
            .args(["-e", "trace=fsync,fdatasync", "-e", &delay])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("strace does not start: run deploy/dev/install.sh")?;
        tracers.push((Helper(tracer), log));
    }
    let ctl = cluster.ctl();
    let entry = tokio::spawn(async move {
        ctl.run(&["settings", "set", "proxy.hold_ms=9999", "--yes"])
            .await
    });
    for (_, log) in &tracers {
        wait::until_true(
            &format!("a stalled flush in {}", log.display()),
            WITHIN,
            || std::fs::read_to_string(log).is_ok_and(|text| text.contains("DELAYED")),
        )
        .await?;
    }
    drop(tracers);
    let answer = entry.await??;
    anyhow::ensure!(
        answer.code == 0 || answer.code == 4 || answer.code == 1,
        "{answer:?}"
    );
    cluster.wait_healthy(WITHIN).await.map(drop)
}

/// Twice as many spinning processes as cores.
async fn busy_cores() -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    let mut spinners = Vec::new();
    for _ in 0..cores * 2 {
        let spin = Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .spawn()?;
        spinners.push(Helper(spin));
    }
    tokio::time::sleep(BUSY).await;
    Ok(())
}

async fn raft_leader_killed(cluster: &mut Cluster, primary: &str) -> anyhow::Result<()> {
    let leader = wait::until("a raft leader beside the primary", WITHIN, || async {
        let leader = cluster
            .status()
            .await?
            .raft
            .leader
            .context("no raft leader")?;
        anyhow::ensure!(leader != primary, "the primary's own sidecar leads");
        Ok(leader)
    })
    .await?;
    cluster.member_mut(&leader)?.kill(Part::Node)?;
    wait::until("another raft leader", WITHIN, || async {
        let now = cluster
            .ctl_of(primary)?
            .json::<pgha_chaos::status::Status>(&["status"])
            .await?;
        anyhow::ensure!(
            now.raft.leader.as_ref().is_some_and(|name| *name != leader),
            "{now:?}"
        );
        Ok(())
    })
    .await?;
    cluster.restart_fallen()?;
    cluster.wait_healthy(WITHIN).await.map(drop)
}
