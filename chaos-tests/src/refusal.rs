//! Runs the daemon where it must refuse to run.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;

use crate::account::Account;
use crate::ctl;

/// A refusal comes before the daemon has anything to wait for.
const REFUSED_WITHIN: Duration = Duration::from_secs(15);

/// How it ended.
#[derive(Debug)]
pub struct Refusal {
    /// Exit code; -1 for a signal.
    pub code: i32,
    /// All of stderr.
    pub stderr: String,
}

/// Runs `pgha` with `arguments` as the account and waits for its end.
pub async fn run(account: &Account, pgha: &Path, arguments: &[String]) -> anyhow::Result<Refusal> {
    finish(account.command(pgha, None), arguments).await
}

/// The same as whoever runs the test, which may be root.
pub async fn run_as_caller(pgha: &Path, arguments: &[String]) -> anyhow::Result<Refusal> {
    finish(std::process::Command::new(pgha), arguments).await
}

async fn finish(
    mut command: std::process::Command,
    arguments: &[String],
) -> anyhow::Result<Refusal> {
    command.args(arguments).current_dir("/");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut command = tokio::process::Command::from(command);
    let child = command
        .kill_on_drop(true)
        .spawn()
        .context("pgha does not start")?;
    let output = tokio::time::timeout(REFUSED_WITHIN, child.wait_with_output())
        .await
        .with_context(|| format!("pgha {arguments:?} runs instead of refusing"))??;
    Ok(Refusal {
        code: output.status.code().unwrap_or(-1),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

impl Refusal {
    /// Fails unless the code is `code` and stderr is one line that holds all of `words`.
    pub fn says(&self, code: i32, words: &[&str]) -> anyhow::Result<()> {
        anyhow::ensure!(self.code == code, "expected exit {code}: {self:?}");
        ctl::one_line(&self.stderr, words)
    }

    /// The same where the daemon had begun its log: the last line is the reason, and the only error.
    pub fn ends_with(&self, code: i32, words: &[&str]) -> anyhow::Result<()> {
        anyhow::ensure!(self.code == code, "expected exit {code}: {self:?}");
        let mut lines: Vec<&str> = self.stderr.trim().lines().collect();
        ctl::one_line(lines.pop().unwrap_or_default(), words)?;
        let harmless = |line: &&str| line.contains(" INFO ") || line.contains(" WARN ");
        anyhow::ensure!(lines.iter().all(harmless), "more than one reason: {self:?}");
        Ok(())
    }
}
