//! What people do.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Held, NoEffect};
use crate::cluster::Cluster;
use crate::ctl::Answer;
use crate::member::Part;
use crate::process::{self, Process};
use crate::{faults, wait};

const HEALTHY_WITHIN: Duration = Duration::from_secs(60);
const PROMOTED_WITHIN: Duration = Duration::from_secs(20);

/// Asks for another primary; clients and faults go on meanwhile.
pub(super) fn switchover(cluster: &Cluster) -> Held {
    let ctl = cluster.ctl();
    Held::Switchover(tokio::spawn(async move {
        ctl.run(&["switchover", "--yes", "--timeout", "20"]).await
    }))
}

/// It may be refused or time out where something else happens at the same time: it must end.
pub(super) async fn outcome(
    task: tokio::task::JoinHandle<anyhow::Result<Answer>>,
    alone: bool,
) -> anyhow::Result<()> {
    let answer = task.await??;
    match answer.code {
        0 => Ok(()),
        1 | 3 | 4 if !alone => Err(NoEffect(format!("no switchover: {answer:?}")).into()),
        _ => anyhow::bail!("a switchover ended with {answer:?}"),
    }
}

/// `pg_ctl promote` behind everybody's back; it has struck once the server takes writes, or was ended
/// for it.
pub(super) async fn promote(cluster: &Cluster, victim: &str) -> anyhow::Result<Held> {
    let postmaster = cluster.member(victim)?.part(Part::Postmaster)?;
    faults::pg_ctl(cluster, victim, &["promote"])?;
    let direct = cluster.direct(victim)?;
    let sql = "SELECT pg_is_in_recovery()";
    wait::until("a server promoted by hand", PROMOTED_WITHIN, || async {
        if postmaster.iter().any(Process::is_running) {
            let recovers: bool = direct.value(sql).await?;
            anyhow::ensure!(!recovers, "it is in recovery");
        }
        Ok(())
    })
    .await?;
    Ok(Held::Nothing)
}

/// `pg_ctl stop`.
pub(super) fn stop(cluster: &Cluster, victim: &str) -> anyhow::Result<Held> {
    faults::pg_ctl(cluster, victim, &["stop", "-m", "fast"])?;
    Ok(Held::Nothing)
}

/// `rm -rf`, and its processes with it, if their sidecar has not ended them yet.
pub(super) fn remove_data(cluster: &Cluster, victim: &str) -> anyhow::Result<Held> {
    let member = cluster.member(victim)?;
    member.remove_postgres_directory()?;
    process::signal_all(&member.postgres_processes(), Signal::SIGKILL);
    Ok(Held::Nothing)
}

/// SIGTERM; a primary hands over first.
pub(super) async fn stop_member(
    cluster: &mut Cluster,
    name: &str,
    within: Duration,
) -> anyhow::Result<()> {
    let ended = cluster.member_mut(name)?.stop(within).await?;
    anyhow::ensure!(ended.success(), "{name} ended with {ended}");
    Ok(())
}

/// Has the member be primary, if it is not.
pub(in crate::nemesis) async fn switch_to(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    if cluster.primary().await? != name {
        cluster
            .ctl()
            .done(&["switchover", "--to", name, "--yes"])
            .await?;
        cluster.wait_healthy(HEALTHY_WITHIN).await?;
    }
    Ok(())
}
