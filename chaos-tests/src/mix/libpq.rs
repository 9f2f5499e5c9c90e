//! libpq sessions, held by psql.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::mix::link::Failure;
use crate::plain;
use crate::sql::Target;

/// psql fed line by line; it ends at the first error, as `ON_ERROR_STOP` makes it.
pub(super) struct Psql {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    errors: Arc<Mutex<String>>,
    collector: tokio::task::JoinHandle<()>,
}

/// Printed by psql after each statement's rows.
const MARK: &str = "~done~";

impl Psql {
    pub(super) async fn open(target: &Target, patience: Duration) -> Result<Self, Failure> {
        let mut psql = Self::spawn(target, patience).map_err(|error| Failure {
            code: None,
            text: format!("psql does not start: {error:#}"),
        })?;
        match tokio::time::timeout(patience, psql.run("SELECT 1")).await {
            Ok(answer) => answer.map(|_| psql),
            Err(_) => Err(Failure {
                code: None,
                text: format!("HANGS for {patience:?}"),
            }),
        }
    }

    fn spawn(target: &Target, patience: Duration) -> anyhow::Result<Self> {
        let program = plain::binaries()?.join("psql");
        let mut command = match &target.namespace {
            None => tokio::process::Command::new(&program),
            Some(namespace) => {
                let mut command = tokio::process::Command::new("nsenter");
                command
                    .arg(format!("--net={}", namespace.path().display()))
                    .arg("--")
                    .arg(&program);
                command
            }
        };
        let ssl = if target.tls.is_some() {
            "require"
        } else {
            "disable"
        };
        let connection = format!(
            "host={} port={} user=postgres dbname=postgres sslmode={ssl} gssencmode=disable \
             connect_timeout={}",
            target.address.ip(),
            target.address.port(),
            patience.as_secs().max(2)
        );
        command
            .args([
                "-X",
                "-A",
                "-t",
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
                "-v",
                "VERBOSITY=verbose",
            ])
            .arg(connection)
            .env("PGPASSWORD", &target.password)
            .env("LC_ALL", "C.UTF-8")
            .kill_on_drop(true)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self::attach(command.spawn()?)
    }

    fn attach(mut child: Child) -> anyhow::Result<Self> {
        let missing = || anyhow::anyhow!("psql has no pipe");
        let input = child.stdin.take().ok_or_else(missing)?;
        let output = BufReader::new(child.stdout.take().ok_or_else(missing)?).lines();
        let mut stderr = child.stderr.take().ok_or_else(missing)?;
        let errors = Arc::new(Mutex::new(String::new()));
        let shared = Arc::clone(&errors);
        let collector = tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
                let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
                shared
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push_str(&text);
            }
        });
        Ok(Self {
            child,
            input,
            output,
            errors,
            collector,
        })
    }

    /// Its process id, until it ended.
    pub(super) fn pid(&self) -> Option<i32> {
        self.child.id().and_then(|pid| i32::try_from(pid).ok())
    }

    pub(super) async fn run(&mut self, sql: &str) -> Result<Vec<String>, Failure> {
        let line = format!("{sql};\n\\echo {MARK}\n");
        if self.input.write_all(line.as_bytes()).await.is_err() {
            return Err(self.failure().await);
        }
        let mut rows = Vec::new();
        loop {
            match self.output.next_line().await {
                Ok(Some(line)) if line == MARK => return Ok(rows),
                Ok(Some(line)) => rows.push(line),
                Ok(None) | Err(_) => return Err(self.failure().await),
            }
        }
    }

    /// What psql said last; it closes stderr as it ends, so the collector ends as well.
    async fn failure(&mut self) -> Failure {
        let _ended = tokio::time::timeout(Duration::from_secs(5), &mut self.collector).await;
        let text = self
            .errors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Failure {
            code: sqlstate(&text),
            text,
        }
    }
}

/// `ERROR:  57014: canceling statement ...`
fn sqlstate(text: &str) -> Option<String> {
    let markers = ["ERROR:  ", "FATAL:  "];
    text.lines()
        .filter_map(|line| markers.iter().find_map(|marker| line.split_once(marker)))
        .filter_map(|(_, rest)| rest.split_once(':'))
        .map(|(code, _)| code.to_owned())
        .rfind(|code| code.len() == 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_found_in_verbose_errors() {
        let text = "psql:<stdin>:3: ERROR:  57014: canceling statement due to user request\n\
                    LOCATION:  ProcessInterrupts, postgres.c:3402\n";
        assert_eq!(sqlstate(text).as_deref(), Some("57014"));
        assert_eq!(sqlstate("server closed the connection unexpectedly"), None);
    }
}
