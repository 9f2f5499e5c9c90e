//! One member: its sidecar, guard and PostgreSQL as processes, its directory, its log.

use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::Signal;

use crate::account::Account;
use crate::netns::Namespace;
use crate::options::Addresses;
use crate::process::{self, Process};
use crate::wait;

/// How PostgreSQL titles a session of the superuser that came over TCP: name, database, address.
const SESSION: &str = ": postgres postgres 1";

/// A member and what the test did to it.
#[derive(Debug)]
pub struct Member {
    /// `--name`.
    pub name: String,
    /// `--data-dir`.
    pub directory: PathBuf,
    /// Where it listens.
    pub addresses: Addresses,
    /// Every flag after `pgha run`.
    pub flags: Vec<String>,
    /// Where it runs.
    pub namespace: Option<Namespace>,
    /// What the sidecar finds in its environment beside the usual.
    pub environment: Vec<(String, String)>,
    /// What its sidecars wrote to stderr, one after the other.
    pub log: PathBuf,
    program: PathBuf,
    account: Account,
    sidecar: Option<Child>,
}

/// Which processes of a member a fault is aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The daemon.
    Sidecar,
    /// The postmaster's parent.
    Guard,
    /// The first process of PostgreSQL.
    Postmaster,
    /// PostgreSQL as a whole: its first process and all others.
    Postgres,
    /// One of PostgreSQL's processes that serves a session.
    Backend,
    /// Everything of the member.
    Node,
}

impl Member {
    /// A member that was not started yet. Its directory exists and belongs to the account.
    pub fn new(
        name: &str,
        directory: PathBuf,
        addresses: Addresses,
        flags: Vec<String>,
        program: &Path,
        account: &Account,
        namespace: Option<Namespace>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            log: directory.with_extension("log"),
            directory,
            addresses,
            flags,
            namespace,
            environment: Vec::new(),
            program: program.to_owned(),
            account: account.clone(),
            sidecar: None,
        }
    }

    /// Starts the sidecar, as a service manager would.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)?;
        let mut command = if self.environment.is_empty() {
            self.account.command(&self.program, self.namespace.as_ref())
        } else {
            // After the change of account and namespace, whose programs it is not meant for.
            let mut command = self.account.command("env", self.namespace.as_ref());
            let set = self
                .environment
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            command.args(set).arg(&self.program);
            command
        };
        command.arg("run").args(&self.flags).current_dir("/");
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        self.sidecar = Some(child);
        Ok(())
    }

    /// Gives a flag another value, or adds it; for the next start.
    pub fn set_flag(&mut self, flag: &str, value: &str) {
        let given = self.flags.iter().position(|known| known == flag);
        match given.and_then(|at| self.flags.get_mut(at + 1)) {
            Some(old) => value.clone_into(old),
            None => self.flags.extend([flag.to_owned(), value.to_owned()]),
        }
    }

    /// The data directory of PostgreSQL.
    pub fn postgres_directory(&self) -> PathBuf {
        let given = self.flags.iter().position(|flag| flag == "--pg-data-dir");
        let given = given.and_then(|at| self.flags.get(at + 1));
        given.map_or_else(|| self.directory.join("postgres"), PathBuf::from)
    }

    /// The store of Raft.
    pub fn raft_directory(&self) -> PathBuf {
        self.directory.join("raft")
    }

    /// True while the sidecar that this harness started runs.
    pub fn is_up(&mut self) -> bool {
        self.sidecar
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// The sidecar's process id.
    pub fn sidecar_pid(&self) -> anyhow::Result<i32> {
        let child = self.sidecar.as_ref();
        let child = child.with_context(|| format!("{} was not started", self.name))?;
        Ok(i32::try_from(child.id())?)
    }

    /// The guard's process id, as the guard wrote it.
    pub fn guard_pid(&self) -> anyhow::Result<i32> {
        first_number(&self.directory.join("run/guard.pid"))
    }

    /// The postmaster's process id, as PostgreSQL wrote it.
    pub fn postmaster_pid(&self) -> anyhow::Result<i32> {
        first_number(&self.postgres_directory().join("postmaster.pid"))
    }

    /// PostgreSQL's processes, whoever their parent is now.
    pub fn postgres_processes(&self) -> Vec<Process> {
        process::inside(&self.postgres_directory())
    }

    /// PostgreSQL's processes of a kind, by their title: `walreceiver`, `checkpointer` ...
    pub fn backends(&self, kind: &str) -> Vec<Process> {
        let all = self.postgres_processes().into_iter();
        all.filter(|process| process.command.contains(kind))
            .collect()
    }

    /// Sidecar, guard, PostgreSQL and whatever else they started.
    pub fn processes(&self) -> Vec<Process> {
        let recorded = [self.sidecar_pid(), self.guard_pid()];
        let mut found = process::with_descendants(
            &recorded
                .into_iter()
                .flatten()
                .filter(|pid| self.is_ours(*pid))
                .collect::<Vec<_>>(),
        );
        for other in self
            .postgres_processes()
            .into_iter()
            .chain(self.named_in_command())
        {
            if !found.iter().any(|known| known.pid == other.pid) {
                found.push(other);
            }
        }
        found
    }

    /// A pid file outlives its process, and the number may be somebody else's by now.
    fn is_ours(&self, pid: i32) -> bool {
        let started = self
            .sidecar
            .as_ref()
            .is_some_and(|child| i64::from(child.id()) == i64::from(pid));
        started || Process::of(pid).is_some_and(|process| process.command.contains("pgha"))
    }

    fn named_in_command(&self) -> Vec<Process> {
        let directory = format!("{}/", self.directory.display());
        process::running()
            .into_iter()
            .filter(|process| format!("{}/", process.command).contains(&directory))
            .filter(|process| process.pid.unsigned_abs() != std::process::id())
            .collect()
    }

    /// The processes of a part; an error where there are none, for a fault that hits nothing is none.
    pub fn part(&self, part: Part) -> anyhow::Result<Vec<Process>> {
        let found: Vec<Process> = match part {
            Part::Sidecar => Process::of(self.sidecar_pid()?).into_iter().collect(),
            Part::Guard => Process::of(self.guard_pid()?).into_iter().collect(),
            Part::Postmaster => Process::of(self.postmaster_pid()?).into_iter().collect(),
            Part::Postgres => self.postgres_processes(),
            Part::Backend => self.backends(SESSION).into_iter().take(1).collect(),
            Part::Node => self.processes(),
        };
        let alive: Vec<Process> = found.into_iter().filter(Process::is_running).collect();
        anyhow::ensure!(!alive.is_empty(), "{} has no running {part:?}", self.name);
        Ok(alive)
    }

    /// `kill -9` of a part. A whole node is stopped first, so that no process of it acts on the
    /// death of another: a host that loses power does not either.
    pub fn kill(&mut self, part: Part) -> anyhow::Result<()> {
        if part == Part::Node {
            process::signal_all(&self.part(part)?, Signal::SIGSTOP);
        }
        process::signal_all(&self.part(part)?, Signal::SIGKILL);
        if matches!(part, Part::Node | Part::Sidecar) {
            self.reap();
        }
        Ok(())
    }

    /// SIGSTOP of a part.
    pub fn freeze(&self, part: Part) -> anyhow::Result<()> {
        if part == Part::Postgres {
            // First who starts the others: afterwards there are no new ones.
            self.freeze(Part::Postmaster)?;
        }
        process::signal_all(&self.part(part)?, Signal::SIGSTOP);
        Ok(())
    }

    /// SIGCONT of a part.
    pub fn thaw(&self, part: Part) -> anyhow::Result<()> {
        process::signal_all(&self.part(part)?, Signal::SIGCONT);
        Ok(())
    }

    /// Collects the status of a sidecar that was killed.
    fn reap(&mut self) {
        if let Some(mut child) = self.sidecar.take() {
            let _ended = child.wait();
        }
    }

    /// Waits until the sidecar ends by itself.
    pub async fn exit(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        let mut child = self.sidecar.take().context("the sidecar was not started")?;
        let ended = wait::until(&format!("{} to exit", self.name), within, || {
            let status = child.try_wait();
            async move { status?.context("it still runs") }
        })
        .await;
        if ended.is_err() {
            self.sidecar = Some(child);
        }
        ended
    }

    /// SIGTERM, and the exit that must follow.
    pub async fn stop(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        process::signal(self.sidecar_pid()?, Signal::SIGTERM);
        self.exit(within).await
    }

    /// Removes PostgreSQL's data directory as an operator's `rm -rf` would, under whatever runs.
    pub fn remove_postgres_directory(&self) -> anyhow::Result<()> {
        remove_under_writers(&self.postgres_directory())
    }

    /// Removes the store of Raft.
    pub fn remove_raft_directory(&self) -> anyhow::Result<()> {
        remove_under_writers(&self.raft_directory())
    }

    /// The log so far.
    pub fn log_text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// What PostgreSQL has logged so far.
    pub fn postgres_log_text(&self) -> String {
        let path = self.directory.join("run/postgres.log");
        String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
    }

    /// The last lines of the log.
    pub fn log_tail(&self, lines: usize) -> String {
        let text = self.log_text();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Ends every process of the member.
    pub fn destroy(&mut self) {
        // Twice: the first look can miss what was being forked.
        for _ in 0..2 {
            process::signal_all(&self.processes(), Signal::SIGKILL);
            self.reap();
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.destroy();
    }
}

/// Says how a status reads: exit code or signal.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no status".to_owned(),
    }
}

fn first_number(path: &Path) -> anyhow::Result<i32> {
    let text = std::fs::read_to_string(path).with_context(|| format!("no {}", path.display()))?;
    let word = text.split_whitespace().next().unwrap_or_default();
    word.parse()
        .with_context(|| format!("{} holds no number: `{word}`", path.display()))
}

/// A writer may add a file between the listing and the removal of a directory: look again.
fn remove_under_writers(path: &Path) -> anyhow::Result<()> {
    let mut last = None;
    for _ in 0..20 {
        match std::fs::remove_dir_all(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => last = Some(error),
        }
    }
    anyhow::bail!("cannot remove {}: {last:?}", path.display())
}
