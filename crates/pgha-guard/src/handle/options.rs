//! How a guard is started.

use std::ffi::OsString;
use std::io;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf, absolute};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::lock::lock_path_beside;
use crate::tree::Scope;

const ACK_WAIT_DEFAULT: Duration = Duration::from_millis(50);
const RELEASE_WITHIN_DEFAULT: Duration = Duration::from_secs(5);

/// The sidecar's environment may have it.
const SUPERUSER_PASSWORD: &str = "PGHA_PG_SUPERUSER_PASSWORD";

/// How to start a guard.
#[derive(Clone, Debug)]
pub struct GuardOptions {
    /// The program whose `main` comes to [`crate::guard_main`].
    pub program: PathBuf,
    /// The arguments that bring it there.
    pub leading_args: Vec<OsString>,
    /// The program that is run with the argument `release` and a [`crate::ReleaseNote`] on its
    /// standard input when no sidecar is left to release an epoch.
    pub release_program: PathBuf,
    /// Where `guard.pid` and `guard.sock` are put.
    pub run_dir: PathBuf,
    /// The data directory of the PostgreSQL that will be started.
    pub data_dir: PathBuf,
    /// The lock beside it.
    pub lock_path: PathBuf,
    /// How long the guard of a sidecar that lives waits for [`Ack`](crate::Order::Ack), at least, before
    /// it runs the release program; the deadline of the tree has passed by then as well.
    pub ack_wait: Duration,
    /// How long the release program may take.
    pub release_within: Duration,
}

impl GuardOptions {
    /// This program as `guard`, its release as `release`, the lock beside the data directory.
    pub fn new(run_dir: &Path, data_dir: &Path) -> io::Result<Self> {
        let program = std::env::current_exe()?;
        Ok(Self {
            release_program: program.clone(),
            program,
            leading_args: vec!["guard".into()],
            run_dir: run_dir.to_owned(),
            data_dir: data_dir.to_owned(),
            lock_path: lock_path_beside(data_dir),
            ack_wait: ACK_WAIT_DEFAULT,
            release_within: RELEASE_WITHIN_DEFAULT,
        })
    }

    /// The leftovers of a guard that was started with these options.
    pub fn scope(&self) -> Scope {
        Scope::of(&self.data_dir).locked_by(&self.lock_path)
    }

    pub(super) fn command(&self, control: RawFd, board: RawFd) -> io::Result<Command> {
        let mut command = Command::new(&self.program);
        command.args(&self.leading_args);
        command.arg("--control-fd").arg(control.to_string());
        command.arg("--board-fd").arg(board.to_string());
        // The guard works from the root directory.
        command.arg("--run-dir").arg(absolute(&self.run_dir)?);
        command.arg("--lock").arg(absolute(&self.lock_path)?);
        command.arg("--release-program").arg(&self.release_program);
        let millis = |time: Duration| time.as_millis().to_string();
        command.arg("--ack-wait-ms").arg(millis(self.ack_wait));
        command
            .arg("--release-within-ms")
            .arg(millis(self.release_within));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        // It has no use for the secret, and lives longer than the sidecar.
        command.env_remove(SUPERUSER_PASSWORD);
        Ok(command)
    }
}
