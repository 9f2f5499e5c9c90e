//! Running one of PostgreSQL's programs: held until the marker names it, in a process group of its
//! own, watched for progress, and never outliving whoever waits for it.
//!
//! No parent-death signal: it would fire when the runtime's spawning thread ends, not when the
//! process does. A sidecar that dies leaves the process named in the marker, for the next to kill.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Progress;
use super::error::{JobError, classify};
use super::output::{Tail, progress};
use crate::Installation;
use crate::marker::{JobKind, MarkerGuard};

/// Lines that may wait to be looked at.
const LINES_MAX: usize = 64;
/// How long the output of an ended process is read on: a grandchild may hold the pipe.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// One run of a program.
pub(crate) struct Run<'a> {
    pub(crate) kind: JobKind,
    pub(crate) installation: &'a Installation,
    pub(crate) program: &'static str,
    pub(crate) args: Vec<String>,
    /// It is killed after so long without a line of output.
    pub(crate) stall_limit: Duration,
    pub(crate) progress: &'a watch::Sender<Progress>,
    pub(crate) cancel: &'a CancellationToken,
}

/// Runs it to its end; every line goes to `on_line` too.
pub(crate) async fn run(
    run: Run<'_>,
    marker: &mut MarkerGuard,
    mut on_line: impl FnMut(&str),
) -> Result<(), JobError> {
    let (mut child, group) = spawn_held(&run)?;
    marker.name_process(group.0)?;
    let mut lines = read_lines(&mut child);
    let released = release(&mut child).await;
    let mut tail = Tail::default();
    let mut note = |line: String| {
        match progress(&line) {
            Some(now) => {
                run.progress.send_replace(now);
            }
            None => tail.push(&line),
        }
        on_line(&line);
    };
    let mut stalled_at = Instant::now() + run.stall_limit;
    let status = loop {
        tokio::select! {
            Some(line) = lines.recv() => {
                note(line);
                stalled_at = Instant::now() + run.stall_limit;
            }
            status = child.wait() => break status,
            () = run.cancel.cancelled() => {
                end(&mut child, &group).await;
                // What it said last tells whether the directory was touched.
                drain(&mut lines, &mut note).await;
                return Err(JobError::Cancelled { kind: run.kind });
            }
            () = sleep_until(stalled_at) => {
                end(&mut child, &group).await;
                drain(&mut lines, &mut note).await;
                let (kind, limit) = (run.kind, run.stall_limit);
                return Err(JobError::Stalled { kind, limit, tail: tail.text() });
            }
        }
    };
    drain(&mut lines, &mut note).await;
    finish(
        &run,
        status.and_then(|status| released.map(|()| status)),
        tail,
    )
}

fn finish(run: &Run<'_>, status: std::io::Result<ExitStatus>, tail: Tail) -> Result<(), JobError> {
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(classify(run.kind, status.to_string(), tail.text())),
        Err(source) => Err(JobError::Spawn {
            program: run.installation.program(run.program),
            source,
        }),
    }
}

/// The process group of a running job: killed when dropped, for a task that is itself dropped.
struct Group(i32);

impl Group {
    fn kill(&self) {
        // Refused only where nobody is left in the group.
        let _ = killpg(Pid::from_raw(self.0), Signal::SIGKILL);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Spawns a shell that waits for a word before it becomes the program: nothing is done before the
/// marker names the process, and a sidecar that dies in between ends it by closing the pipe.
fn spawn_held(run: &Run<'_>) -> Result<(Child, Group), JobError> {
    let program = run.installation.program(run.program);
    let failed = |source| JobError::Spawn {
        program: program.clone(),
        source,
    };
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "read -r word && exec \"$@\" </dev/null", "pgha-job"])
        .arg(&program)
        .args(&run.args)
        .process_group(0)
        .kill_on_drop(true)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    clean_environment(&mut command, run.installation);
    let child = command.spawn().map_err(failed)?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    let pid = pid.ok_or_else(|| failed(std::io::Error::other("it ended at once")))?;
    Ok((child, Group(pid)))
}

/// Messages in English, to be understood; nothing of libpq's, which would change where it goes, and
/// no HOME, which may be of the user who became this one.
fn clean_environment(command: &mut Command, installation: &Installation) {
    let mut path = vec![installation.bin_dir.clone()];
    path.extend(["/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from));
    command.env_clear().env("LC_ALL", "C");
    // Fails only on a colon inside a path; the programs then find each other by their own place.
    if let Ok(path) = std::env::join_paths(path) {
        command.env("PATH", path);
    }
    for name in ["TZ", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
}

async fn release(child: &mut Child) -> std::io::Result<()> {
    match child.stdin.take() {
        Some(mut stdin) => stdin.write_all(b"go\n").await,
        None => Ok(()),
    }
}

async fn end(child: &mut Child, group: &Group) {
    group.kill();
    // A SIGKILL ends it as soon as the kernel lets it go; a process stuck in the kernel must not
    // hold the job for ever. The marker still names it.
    if tokio::time::timeout(super::LEFTOVER_LIMIT, child.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            pid = group.0,
            "a killed job does not end: it is stuck in the kernel"
        );
    }
}

fn read_lines(child: &mut Child) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(LINES_MAX);
    if let Some(stdout) = child.stdout.take() {
        tokio::spawn(forward(stdout, sender.clone()));
    }
    if let Some(stderr) = child.stderr.take() {
        tokio::spawn(forward(stderr, sender));
    }
    receiver
}

async fn forward(pipe: impl AsyncRead + Unpin, lines: mpsc::Sender<String>) {
    let mut chunks = BufReader::new(pipe).split(b'\n');
    while let Ok(Some(chunk)) = chunks.next_segment().await {
        let text = String::from_utf8_lossy(&chunk);
        // On a terminal, progress overwrites its line.
        for line in text
            .split('\r')
            .map(str::trim_end)
            .filter(|line| !line.is_empty())
        {
            if lines.send(line.to_owned()).await.is_err() {
                return;
            }
        }
    }
}

async fn drain(lines: &mut mpsc::Receiver<String>, note: &mut impl FnMut(String)) {
    let all = async {
        while let Some(line) = lines.recv().await {
            note(line);
        }
    };
    // Without the end of the pipes the last words may be missing, nothing else.
    let _ = tokio::time::timeout(DRAIN_LIMIT, all).await;
}
