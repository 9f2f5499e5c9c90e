//! What an idle cluster costs beside PostgreSQL.

use std::time::{Duration, Instant};

use anyhow::Context;

use crate::bench::{Figure, Unit};
use crate::cluster::Cluster;
use crate::process;

/// Formation's own work is over by then.
const SETTLE: Duration = Duration::from_secs(10);
const MEASURE: Duration = Duration::from_secs(60);
const MEBIBYTE: f64 = 1024.0 * 1024.0;

pub(super) async fn measure(cluster: &Cluster) -> anyhow::Result<Vec<Figure>> {
    tokio::time::sleep(SETTLE).await;
    let status = cluster.status().await?;
    let used = |pid: i32| process::cpu_time(pid).context("a process is gone");
    let mut before = Vec::new();
    for member in &cluster.members {
        before.push((used(member.sidecar_pid()?)?, used(member.guard_pid()?)?));
    }
    let started = Instant::now();
    tokio::time::sleep(MEASURE).await;
    let elapsed = started.elapsed();
    let (mut leading, mut following, mut guards) = (Vec::new(), Vec::new(), Vec::new());
    let (mut resident, mut private, mut locked) = (Vec::new(), Vec::new(), Vec::new());
    for (member, (sidecar, guard)) in cluster.members.iter().zip(before) {
        let share = |pid: i32, before: Duration| -> anyhow::Result<f64> {
            let spent = used(pid)?.saturating_sub(before);
            Ok(100.0 * spent.as_secs_f64() / elapsed.as_secs_f64())
        };
        let sidecar = share(member.sidecar_pid()?, sidecar)?;
        let name = Some(&member.name);
        let leads = status.raft.leader.as_ref() == name || status.primary.as_ref() == name;
        if leads { &mut leading } else { &mut following }.push(sidecar);
        guards.push(share(member.guard_pid()?, guard)?);
        let memory = process::memory(member.sidecar_pid()?).context("no memory figures")?;
        resident.push(memory.resident as f64);
        let memory = process::memory(member.guard_pid()?).context("no memory figures")?;
        private.push(memory.private as f64);
        locked.push(memory.locked as f64);
    }
    Ok(vec![
        Figure::new("idle sidecar: resident memory", Unit::Bytes, resident)
            .below(None, Some(20.0 * MEBIBYTE)),
        Figure::new(
            "idle sidecar that leads nothing: CPU",
            Unit::Percent,
            following,
        )
        .below(None, Some(0.5)),
        Figure::new(
            "idle sidecar, raft leader or primary: CPU",
            Unit::Percent,
            leading,
        )
        .below(None, Some(1.0)),
        Figure::new("guard: private memory", Unit::Bytes, private)
            .below(None, Some(2.0 * MEBIBYTE)),
        Figure::new("guard: locked memory", Unit::Bytes, locked),
        Figure::new("guard: CPU", Unit::Percent, guards),
    ])
}
