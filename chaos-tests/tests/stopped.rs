//! Members that are asked to stop, all of them: maintenance, or a rack that is switched off in an orderly way.

use std::time::Duration;

use nix::sys::signal::Signal;
use pgha_chaos::load::{Load, LoadOptions};
use pgha_chaos::member::Part;
use pgha_chaos::{Cluster, ClusterOptions, checker, process};

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
    let replicas: Vec<String> = cluster.names().into_iter().filter(|n| *n != primary).collect();
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
