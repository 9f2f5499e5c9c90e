//! The operating system account that pgha and PostgreSQL run as.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use nix::unistd::{Gid, Uid, User};

use crate::netns::Namespace;
use crate::plain::BIN_DIR;

/// Who the daemons run as: `postgres` where the tests run as root, else whoever runs them.
#[derive(Debug, Clone)]
pub struct Account {
    uid: Uid,
    gid: Gid,
    home: PathBuf,
    /// True where this process is root and has to change the account of its children.
    switch: bool,
}

impl Account {
    /// Finds the account, or says how to get one.
    pub fn detect() -> anyhow::Result<Self> {
        let current = Uid::effective();
        let switch = current.is_root();
        let user = if switch {
            User::from_name("postgres")?.context(
                "running as root and there is no account `postgres`: \
                 run deploy/dev/install.sh, it installs the package that creates it",
            )?
        } else {
            User::from_uid(current)?.with_context(|| format!("uid {current} has no account"))?
        };
        Ok(Self {
            uid: user.uid,
            gid: user.gid,
            home: user.dir,
            switch,
        })
    }

    /// True where the tests run as root.
    pub const fn switches(&self) -> bool {
        self.switch
    }

    /// Its number.
    pub const fn uid(&self) -> u32 {
        self.uid.as_raw()
    }

    /// A command that runs as this account, in `namespace` where one is given, with an environment
    /// that holds nothing of the caller's but the search path, the log filter and the choice of a
    /// PostgreSQL.
    pub fn command(&self, program: impl AsRef<OsStr>, namespace: Option<&Namespace>) -> Command {
        let mut command = match namespace {
            None => self.plain(program.as_ref()),
            Some(namespace) => self.inside(namespace, program.as_ref()),
        };
        command
            .env_clear()
            .env("HOME", &self.home)
            .env("LC_ALL", "C.UTF-8");
        for kept in ["PATH", "RUST_LOG", "RUST_BACKTRACE", BIN_DIR] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        command
    }

    fn plain(&self, program: &OsStr) -> Command {
        let mut command = Command::new(program);
        if self.switch {
            command.uid(self.uid.as_raw()).gid(self.gid.as_raw());
        }
        command
    }

    /// `nsenter` needs root, so the account changes after it; both replace themselves, which keeps
    /// the process id of the child that of the daemon.
    fn inside(&self, namespace: &Namespace, program: &OsStr) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", namespace.path().display()))
            .args(["--", "setpriv"])
            .arg(format!("--reuid={}", self.uid))
            .arg(format!("--regid={}", self.gid))
            .args(["--init-groups", "--"])
            .arg(program);
        command
    }

    /// Gives a file or directory to the account.
    pub fn own(&self, path: &Path) -> anyhow::Result<()> {
        if self.switch {
            std::os::unix::fs::chown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw()))
                .with_context(|| format!("cannot give {} to the account", path.display()))?;
        }
        Ok(())
    }

    /// Makes a directory that belongs to the account, with that mode.
    pub fn directory(&self, path: &Path, mode: u32) -> anyhow::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        std::fs::create_dir(path).with_context(|| format!("cannot make {}", path.display()))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        self.own(path)
    }

    /// Writes a file that belongs to the account, with that mode.
    pub fn file(&self, path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(path)
            .and_then(|mut file| file.write_all(content))
            .with_context(|| format!("cannot write {}", path.display()))?;
        self.own(path)
    }
}
