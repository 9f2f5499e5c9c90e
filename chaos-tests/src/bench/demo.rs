//! The demo's failover: kills the primary of a running cluster under an insert load, and tells.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::Signal;

use crate::checker;
use crate::ctl::Ctl;
use crate::history::HistoryEntry;
use crate::load::{Load, LoadOptions};
use crate::process::{self, Process};
use crate::sql::Target;
use crate::status::Status;
use crate::wait;

const WITHIN: Duration = Duration::from_secs(30);
const ROWS_BEFORE: usize = 200;
const ROWS_AFTER: usize = 200;

/// A running demo.
#[derive(Debug, Clone)]
pub struct FailoverDemo {
    /// `pgha-ctl`.
    pub ctl: PathBuf,
    /// gRPC addresses.
    pub endpoints: Vec<String>,
    /// Read-write ports by member.
    pub ports: Vec<(String, SocketAddr)>,
    /// The superuser's.
    pub password: String,
    /// The directory whose subdirectories are the members' data directories.
    pub directory: PathBuf,
}

/// Inserts, kills everything of the primary at once, and prints the gap and the rows lost.
pub async fn show_failover(demo: &FailoverDemo) -> anyhow::Result<()> {
    let ctl = Ctl {
        program: demo.ctl.clone(),
        endpoints: demo.endpoints.clone(),
        namespace: None,
    };
    let status: Status = ctl.json(&["status"]).await?;
    let primary = status.primary.context("the cluster has no primary")?;
    let others = demo.ports.iter().filter(|(name, _)| *name != primary);
    let targets = others.map(|(_, address)| demo.target(*address)).collect();
    println!("inserting a row every 10 ms through a port of a member that is not the primary ...");
    // Each demonstration has rows of its own.
    let writer = i32::try_from(std::process::id())?;
    let load = Load::start(LoadOptions::new(writer, targets)).await?;
    load.advance(ROWS_BEFORE, WITHIN).await?;
    println!("kill -9 of everything of {primary}: sidecar, guard, PostgreSQL");
    let struck = load.now();
    demo.kill(&primary)?;
    load.advance(ROWS_AFTER, WITHIN).await?;
    let record = load.stop().await?;
    let gap = record.longest_gap(struck).context("no gap")?;
    let after = wait::until("a known primary", WITHIN, || async {
        let status: Status = ctl.json(&["status"]).await?;
        status
            .primary
            .filter(|name| *name != primary)
            .context("none yet")
    })
    .await?;
    let port = demo
        .ports
        .iter()
        .find(|(name, _)| *name == after)
        .context("its port")?
        .1;
    let present = checker::read_rows(&demo.target(port)).await?;
    let verdict = checker::judge(&[record], &present)?;
    println!("{after} is primary now");
    println!("write gap:         {:.2} s", gap.length().as_secs_f64());
    println!("rows acknowledged: {}", verdict.acknowledged);
    println!("of these lost:     {}", verdict.lost.len());
    let history: Vec<HistoryEntry> = ctl.json(&["history"]).await?;
    if let Some(entry) = history.last() {
        let steps: Vec<String> = entry
            .steps()
            .into_iter()
            .map(|(name, ms)| format!("{name} {ms} ms"))
            .collect();
        println!("where it went:     {}", steps.join(", "));
    }
    Ok(())
}

impl FailoverDemo {
    fn target(&self, address: SocketAddr) -> Target {
        Target {
            address,
            namespace: None,
            password: self.password.clone(),
            tls: None,
        }
    }

    fn kill(&self, name: &str) -> anyhow::Result<()> {
        let directory = self.directory.join(name);
        let pid = |file: &str| -> anyhow::Result<i32> {
            let path = directory.join("run").join(file);
            let text =
                std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            text.split_whitespace()
                .next()
                .unwrap_or_default()
                .parse()
                .context("not a pid")
        };
        let mut all: Vec<Process> =
            process::with_descendants(&[pid("pgha.pid")?, pid("guard.pid")?]);
        all.extend(process::inside(&directory.join("postgres")));
        process::signal_all(&all, Signal::SIGSTOP);
        process::signal_all(&all, Signal::SIGKILL);
        Ok(())
    }
}
