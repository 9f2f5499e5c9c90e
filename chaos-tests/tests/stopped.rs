//! Orderly stops: of all members, for maintenance; of a PostgreSQL, behind its sidecar's back.

use std::time::Duration;

use nix::sys::signal::Signal;
use pgha_chaos::load::{Load, LoadOptions};
use pgha_chaos::member::Part;
use pgha_chaos::{Cluster, ClusterOptions, checker, faults, process, wait};

const WITHIN: Duration = Duration::from_secs(90);

/// The replicas are gone before anybody could be handed over to. The primary ends its PostgreSQL cleanly
/// while its lease still lasts, and what it acknowledged last is there when all come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_was_acknowledged_is_there_after_an_orderly_stop_of_all() -> anyhow::Result<()> {
    // A stop takes its time on a machine that is busy with other tests.
    let options = ClusterOptions::new(3).initial("lease_ms", 6_000);
    let mut cluster = Cluster::start_with(options).await?;
    let primary = cluster.primary().await?;
    let port = cluster.read_write(&primary)?;
    let load = Load::start(LoadOptions::new(1, vec![port])).await?;
    load.advance(100, WITHIN).await?;
    let replicas: Vec<String> = cluster
        .names()
        .into_iter()
        .filter(|n| *n != primary)
        .collect();
    for name in &replicas {
        process::signal_all(&cluster.member(name)?.part(Part::Sidecar)?, Signal::SIGTERM);
    }
    for name in &replicas {
        cluster.member_mut(name)?.exit(WITHIN).await?;
    }
    let ended = cluster.member_mut(&primary)?.stop(WITHIN).await?;
    assert!(ended.success(), "{primary} ended with {ended}");
    let record = load.stop().await?;
    let log = cluster.member(&primary)?.postgres_log_text();
    let last = log.lines().rev().find(|line| line.contains("LOG:"));
    assert!(
        last.is_some_and(|line| line.contains("database system is shut down"))
            && !log.contains("immediate shutdown request"),
        "not a clean stop: {last:?}"
    );

    for member in &mut cluster.members {
        member.start()?;
    }
    cluster.wait_healthy(WITHIN).await?;
    let present = checker::read_rows(&cluster.direct(&cluster.primary().await?)?).await?;
    checker::judge(&[record], &present)?.nothing_lost()?;
    cluster.finish();
    Ok(())
}

/// Once primary, it follows another one and is stopped before it has run for long. It has nothing that the
/// others do not have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_former_primary_that_is_stopped_as_a_replica_tells_of_no_loss() -> anyhow::Result<()> {
    // A restart in place is as good, and not what this is about.
    let options = ClusterOptions::new(3).initial("on_primary_crash", "failover");
    let cluster = Cluster::start_with(options).await?;
    let former = cluster.primary().await?;
    let others = cluster.read_write_except(&[former.as_str()])?;
    let load = Load::start(LoadOptions::new(1, others)).await?;
    load.advance(30, WITHIN).await?;
    faults::pg_ctl(&cluster, &former, &["stop", "-m", "fast"])?;
    cluster.wait_primary_other_than(&former, WITHIN).await?;
    cluster.wait_healthy(WITHIN).await?;
    load.advance(30, WITHIN).await?;
    // Its control file is about the new timeline from then on.
    let replica = cluster.direct(&former)?;
    replica.run("CHECKPOINT").await?;
    let starts = |log: String| log.matches("PostgreSQL was started").count();
    let before = starts(cluster.member(&former)?.log_text());
    faults::pg_ctl(&cluster, &former, &["stop", "-m", "fast"])?;
    wait::until_true("PostgreSQL starts again", WITHIN, || {
        let member = cluster.member(&former);
        member.is_ok_and(|member| starts(member.log_text()) > before)
    })
    .await?;
    cluster.wait_healthy(WITHIN).await?;
    let record = load.stop().await?;
    let lost: Vec<_> = cluster.history().await?;
    let lost: Vec<_> = lost
        .iter()
        .filter(|entry| entry.lost_bytes.is_some_and(|b| b > 0))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
    let present = checker::read_rows(&cluster.direct(&cluster.primary().await?)?).await?;
    checker::judge(&[record], &present)?.nothing_lost()?;
    cluster.finish();
    Ok(())
}
