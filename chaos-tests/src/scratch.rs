//! A directory of its own for every cluster, which the daemons' account may enter.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::TempDir;

use crate::account::Account;

/// Kept on failure, removed otherwise.
#[derive(Debug)]
pub struct Scratch {
    directory: Option<TempDir>,
    path: PathBuf,
}

impl Scratch {
    /// Directly under `/tmp`: a unix socket's path may have 107 bytes, and `TMPDIR` may lie where
    /// the account cannot go.
    pub fn new(account: &Account) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("pgha-")
            .tempdir_in("/tmp")
            .context("cannot make a directory under /tmp")?;
        let path = directory.path().to_owned();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        account.own(&path)?;
        Ok(Self {
            directory: Some(directory),
            path,
        })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the directory for whoever looks for the cause.
    pub fn keep(&mut self) {
        if let Some(directory) = self.directory.take() {
            let _kept = directory.keep();
        }
    }
}
