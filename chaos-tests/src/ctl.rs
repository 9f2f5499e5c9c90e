//! Runs `pgha-ctl`.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use serde::de::DeserializeOwned;

use crate::netns::Namespace;

/// Longer than any command's own default deadline, so that its own one is what is seen.
const RUN_WITHIN: Duration = Duration::from_secs(90);

/// `pgha-ctl` with the endpoints of a cluster.
#[derive(Debug, Clone)]
pub struct Ctl {
    /// The program.
    pub program: PathBuf,
    /// `--endpoint`.
    pub endpoints: Vec<String>,
    /// Where it runs.
    pub namespace: Option<Namespace>,
}

/// What it said.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Exit code; -1 where a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ctl {
    /// The same through one endpoint only.
    pub fn through(&self, endpoint: &str) -> Self {
        Self {
            endpoints: vec![endpoint.to_owned()],
            ..self.clone()
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match &self.namespace {
            None => Command::new(&self.program),
            Some(namespace) => {
                let mut command = Command::new("nsenter");
                command
                    .arg(format!("--net={}", namespace.path().display()))
                    .arg("--")
                    .arg(&self.program);
                command
            }
        };
        command
            .arg("--endpoint")
            .arg(self.endpoints.join(","))
            .args(arguments);
        command
    }

    /// Runs a command without a terminal.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<Answer> {
        let mut command = tokio::process::Command::from(self.command(arguments));
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(RUN_WITHIN, command.output())
            .await
            .with_context(|| format!("pgha-ctl {arguments:?} still runs after {RUN_WITHIN:?}"))?
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        Ok(Answer {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs a command that must succeed.
    pub async fn done(&self, arguments: &[&str]) -> anyhow::Result<Answer> {
        let answer = self.run(arguments).await?;
        anyhow::ensure!(answer.code == 0, "pgha-ctl {arguments:?}: {answer:?}");
        Ok(answer)
    }

    /// Runs a command with `--output json` and reads the answer.
    pub async fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> anyhow::Result<T> {
        let arguments = [&["--output", "json"], arguments].concat();
        let answer = self.done(&arguments).await?;
        serde_json::from_str(&answer.stdout)
            .with_context(|| format!("pgha-ctl {arguments:?} printed: {}", answer.stdout))
    }
}

impl Answer {
    /// Fails unless the code is `code` and stderr is one line that holds all of `words`.
    pub fn refused(&self, code: i32, words: &[&str]) -> anyhow::Result<()> {
        anyhow::ensure!(self.code == code, "expected exit {code}: {self:?}");
        one_line(&self.stderr, words)
    }
}

/// Fails unless `text` is one line that holds all of `words`.
pub fn one_line(text: &str, words: &[&str]) -> anyhow::Result<()> {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    anyhow::ensure!(
        lines.len() == 1,
        "expected one line, got {}: {text}",
        lines.len()
    );
    for word in words {
        anyhow::ensure!(text.contains(word), "`{word}` is not in: {text}");
    }
    Ok(())
}
