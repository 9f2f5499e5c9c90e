//! Flushes that fail or take long, by a tracer on the processes that flush.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context;

use super::Held;
use crate::cluster::Cluster;
use crate::nemesis::Dose;
use crate::wait;

/// What a tracer does to each flush.
pub(super) const FAILS: &str = "error=EIO";
const CALLS: &str = "fsync,fdatasync";
/// An account that has nothing.
const NOBODY: u32 = 65_534;
const ATTACHED_WITHIN: Duration = Duration::from_secs(10);

/// Why nobody can be traced here, if so.
pub(in crate::nemesis) fn obstacle() -> Option<String> {
    static FOUND: OnceLock<Option<String>> = OnceLock::new();
    FOUND
        .get_or_init(|| trace_once().err().map(|error| format!("{error:#}")))
        .clone()
}

/// Attaches to a process of another account: in a container root may not.
fn trace_once() -> anyhow::Result<()> {
    let mut victim = Command::new("sleep").arg("60").uid(NOBODY).spawn()?;
    let tracer = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "-p", &victim.id().to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("strace does not start: run deploy/dev/install.sh");
    // It ends with the process, or because it may not attach to it.
    let traced = tracer.and_then(|mut tracer| {
        let pid = i32::try_from(victim.id())?;
        while !is_traced(pid) && tracer.try_wait()?.is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let attached = is_traced(pid);
        victim.kill()?;
        let said = tracer.wait_with_output()?.stderr;
        let said = String::from_utf8_lossy(&said);
        anyhow::ensure!(attached, "nobody can be traced: {}", said.trim());
        Ok(())
    });
    victim.kill()?;
    victim.wait()?;
    traced
}

/// The flush takes so much longer.
pub(super) fn takes(dose: Dose) -> anyhow::Result<String> {
    let Dose::Delay(delay) = dose else {
        anyhow::bail!("a slow flush without a measure");
    };
    Ok(format!("delay_enter={}", delay.as_micros()))
}

/// A tracer; without it everything is as before.
pub(in crate::nemesis) struct Tracer {
    child: Child,
    log: PathBuf,
    name: String,
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Tracer {
    async fn attach(
        cluster: &Cluster,
        name: &str,
        pids: &[i32],
        what: &str,
    ) -> anyhow::Result<Self> {
        let log = cluster.scratch.path().join(format!("{name}.strace"));
        let _of_an_earlier_round = std::fs::remove_file(&log);
        let mut command = Command::new("strace");
        command.arg("-f").arg("-o").arg(&log);
        command.args(["-e", &format!("trace={CALLS}")]);
        command.args(["-e", &format!("inject={CALLS}:{what}")]);
        for pid in pids {
            command.args(["-p", &pid.to_string()]);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("strace does not start: run deploy/dev/install.sh")?;
        let tracer = Self {
            child,
            log,
            name: name.to_owned(),
        };
        let traced = || pids.iter().any(|pid| is_traced(*pid));
        wait::until_true("the tracer to attach", ATTACHED_WITHIN, traced).await?;
        Ok(tracer)
    }

    /// Lets go, and starts what has ended over it; an error where nobody had flushed meanwhile.
    pub(super) fn end(self, cluster: &mut Cluster) -> anyhow::Result<()> {
        let (name, log) = (self.name.clone(), self.log.clone());
        drop(self);
        super::processes::start(cluster, &[name])?;
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let struck = text.contains("(INJECTED)") || text.contains("(DELAYED)");
        anyhow::ensure!(struck, "nothing was flushed: {}", log.display());
        Ok(())
    }
}

fn is_traced(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let tracer = status
        .lines()
        .find_map(|line| line.strip_prefix("TracerPid:"));
    tracer.is_some_and(|tracer| tracer.trim() != "0")
}

/// All of PostgreSQL of a member, with what it forks from now on.
pub(super) async fn of_postgres(cluster: &Cluster, name: &str, what: &str) -> anyhow::Result<Held> {
    let processes = cluster.member(name)?.postgres_processes();
    let pids: Vec<i32> = processes.iter().map(|process| process.pid).collect();
    anyhow::ensure!(!pids.is_empty(), "{name} has no PostgreSQL");
    let tracer = Tracer::attach(cluster, name, &pids, what).await?;
    Ok(Held::Flushes(tracer))
}

/// The sidecar's, while there is something to write for it.
pub(super) async fn of_store(cluster: &Cluster, name: &str, what: &str) -> anyhow::Result<Held> {
    let pid = cluster.member(name)?.sidecar_pid()?;
    let tracer = Tracer::attach(cluster, name, &[pid], what).await?;
    super::store::write_something(cluster);
    Ok(Held::Flushes(tracer))
}
