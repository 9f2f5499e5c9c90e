//! Looks for a secret where it must not be: in what processes show of themselves, in logs, in answers.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;

use crate::cluster::Cluster;
use crate::http;
use crate::options::ClusterOptions;
use crate::process::{self, Process};

const LOOK_EVERY: Duration = Duration::from_millis(20);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Where each member keeps the replication role's, for nobody but its own account.
const PASSFILE: &str = "conf/replication.pgpass";

/// A text that must not have the secret in it.
#[derive(Debug)]
pub struct Place {
    /// What it is.
    pub name: String,
    /// All of it.
    pub text: String,
    /// What it must have: who does not find this would not find a secret.
    pub sign: String,
}

impl Place {
    /// A text and what it must have.
    pub fn new(name: impl Into<String>, text: String, sign: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text,
            sign: sign.into(),
        }
    }

    /// Fails where the secret is in the text, and where the sign is not.
    pub fn lacks(&self, secret: &str) -> anyhow::Result<()> {
        let has = |word: &str| !word.is_empty() && self.text.contains(word);
        anyhow::ensure!(!has(secret), "the secret is in {}", self.name);
        let (name, sign) = (&self.name, &self.sign);
        anyhow::ensure!(has(sign), "no `{sign}` in {name}: {}", self.text);
        Ok(())
    }
}

/// What a process showed at one look.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shown {
    /// Its command line.
    pub command: String,
    /// Its environment.
    pub environment: String,
}

/// Watches all processes of a directory: those that name it, and those that sit in it.
pub struct ProcessWatch {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<BTreeSet<Shown>>,
}

impl ProcessWatch {
    /// Begins to watch.
    pub fn begin(directory: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let directory = directory.to_owned();
        let thread = std::thread::spawn(move || {
            let mut shown = BTreeSet::new();
            loop {
                let last = stopped.load(Ordering::Relaxed);
                shown.extend(look(&directory));
                if last {
                    return shown;
                }
                std::thread::sleep(LOOK_EVERY);
            }
        });
        Self { stop, thread }
    }

    /// Ends the watch with a last look; all that was shown.
    pub fn end(self) -> anyhow::Result<BTreeSet<Shown>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the watch panicked")
    }
}

fn look(directory: &Path) -> impl Iterator<Item = Shown> {
    let name = directory.display().to_string();
    let belongs = move |process: &Process| {
        let at = process.directory.as_ref();
        process.command.contains(&name) || at.is_some_and(|at| at.starts_with(&name))
    };
    process::running()
        .into_iter()
        .filter(belongs)
        .map(|process| Shown {
            environment: process.environment(),
            command: process.command,
        })
}

/// A cluster whose PostgreSQL and sidecars log all they ever would.
pub fn talkative(options: ClusterOptions) -> ClusterOptions {
    options
        .initial("postgres.parameters.log_statement", "all")
        .flag("--log-level", "trace")
}

/// It was drawn at the formation: nobody gave it, and it is the same everywhere.
pub fn replication_secret(cluster: &Cluster) -> anyhow::Result<String> {
    let mut secrets = BTreeSet::new();
    for member in &cluster.members {
        let path = member.directory.join(PASSFILE);
        let mode = std::fs::metadata(&path)?.permissions().mode() & 0o777;
        anyhow::ensure!(mode == 0o600, "{} has mode {mode:o}", path.display());
        let line = std::fs::read_to_string(&path)?;
        let secret = line.trim_end().rsplit(':').next().unwrap_or_default();
        secrets.insert(secret.to_owned());
    }
    let secret = secrets.pop_first().context("members")?;
    anyhow::ensure!(secrets.is_empty() && secret.len() >= 32, "{secret:?}");
    Ok(secret)
}

/// Everywhere it must not be: logs, settings, answers, and what processes showed since the watch began.
pub async fn places(cluster: &Cluster, processes: ProcessWatch) -> anyhow::Result<Vec<Place>> {
    let mut places = answers(cluster).await?;
    places.extend(logs_and_settings(cluster).await?);
    places.extend(by_program(&processes.end()?));
    Ok(places)
}

/// What sidecar, guard and PostgreSQL wrote, and what PostgreSQL shows of its settings and roles.
async fn logs_and_settings(cluster: &Cluster) -> anyhow::Result<Vec<Place>> {
    let mut places = Vec::new();
    for member in &cluster.members {
        let session = cluster.direct(&member.name)?;
        let session = session.connect(CONNECT_WITHIN).await?;
        let settings = "SELECT string_agg(name || '=' || setting, chr(10)) FROM pg_settings";
        let roles = "SELECT string_agg(rolname || ' ' || rolpassword, chr(10)) FROM pg_authid";
        for (what, text, sign) in [
            ("log", member.log_text(), "TRACE"),
            (
                "PostgreSQL's log",
                member.postgres_log_text(),
                "LOG:  execute ",
            ),
            ("settings", session.value(settings).await?, "work_mem="),
            ("roles", session.value(roles).await?, "SCRAM-SHA-256$"),
        ] {
            places.push(Place::new(format!("{what} of {}", member.name), text, sign));
        }
    }
    Ok(places)
}

/// What `pgha-ctl` and the sidecars answer.
async fn answers(cluster: &Cluster) -> anyhow::Result<Vec<Place>> {
    let primary = cluster.primary().await?;
    let mut places = Vec::new();
    for (command, sign) in [
        (&["status"][..], primary.as_str()),
        (&["history"], &primary),
        (&["explain"], &primary),
        (&["settings", "show"], "log_statement"),
        (&["doctor"], "ok"),
    ] {
        for output in ["table", "json", "yaml"] {
            let arguments = [&["--output", output], command].concat();
            let answer = cluster.ctl().done(&arguments).await?;
            let name = format!("pgha-ctl {command:?} as {output}");
            let text = answer.stdout + &answer.stderr;
            places.push(Place::new(name, text, sign));
        }
    }
    for member in &cluster.members {
        for (path, sign) in [("/metrics", "pgha_epoch"), ("/health", "lag_bytes")] {
            let answer = http::get(member.addresses.http, path).await?;
            let name = format!("{path} of {}", member.name);
            places.push(Place::new(name, answer.body, sign));
        }
    }
    Ok(places)
}

/// By program: the clones, which are given the secret, have to be among them.
fn by_program(shown: &BTreeSet<Shown>) -> Vec<Place> {
    let programs = [
        ("pgha run", "--data-dir", "PATH="),
        ("pgha guard", "guard", "PATH="),
        ("bin/postgres", "-D", "PATH="),
        ("pg_basebackup", "replication.pgpass", "LC_ALL=C"),
        ("", "pgha", "PATH="),
    ];
    let of = |program: &str, what: fn(&Shown) -> &String| -> String {
        let shown = shown.iter().filter(|one| one.command.contains(program));
        shown.map(what).cloned().collect::<Vec<_>>().join("\n")
    };
    let mut places = Vec::new();
    for (program, command, environment) in programs {
        let commands = of(program, |shown| &shown.command);
        let name = format!("command lines of {program}");
        places.push(Place::new(name, commands, command));
        let environments = of(program, |shown| &shown.environment);
        let name = format!("environments of {program}");
        places.push(Place::new(name, environments, environment));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_seen_and_so_is_a_look_at_nothing() {
        let place = |text: &str| Place::new("a log", text.to_owned(), "started");
        assert!(place("started with s3cret").lacks("s3cret").is_err());
        assert!(place("").lacks("s3cret").is_err());
        assert!(place("started").lacks("s3cret").is_ok());
    }

    #[test]
    fn command_lines_and_environments_are_seen() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let watch = ProcessWatch::begin(directory.path());
        let mut child = std::process::Command::new("sh")
            .args(["-c", "read line", "s3cret"])
            .env("GIVEN", "s4cret")
            .current_dir(directory.path())
            .stdin(std::process::Stdio::piped())
            .spawn()?;
        let shown = watch.end();
        drop(child.stdin.take());
        child.wait()?;
        let shown = shown?;
        let given = |s: &Shown| s.command.contains("s3cret") && s.environment.contains("s4cret");
        assert!(shown.iter().any(given), "{shown:?}");
        Ok(())
    }
}
