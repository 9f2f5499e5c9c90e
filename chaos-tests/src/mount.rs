//! A file system of limited size, for a full disk.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::Context;
use nix::sys::statvfs::statvfs;

/// Why no file system can be mounted here, if so.
pub fn obstacle() -> Option<String> {
    static FOUND: OnceLock<Option<String>> = OnceLock::new();
    let mounted = || -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        SmallDisk::over(directory.path(), 1).map(drop)
    };
    FOUND
        .get_or_init(|| mounted().err().map(|error| format!("{error:#}")))
        .clone()
}

/// A tmpfs over a directory; unmounted when dropped. Needs root.
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one of `mebibytes` over `path`.
    pub fn over(path: &Path, mebibytes: u32) -> anyhow::Result<Self> {
        run(Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={mebibytes}m"),
                "pgha-chaos",
            ])
            .arg(path))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Takes away all room that is not in use; [`SmallDisk::grow`] gives some back.
    pub fn fill(&self) -> anyhow::Result<()> {
        let seen = statvfs(&self.path)?;
        let used = (seen.blocks() - seen.blocks_free()) * seen.fragment_size();
        let size = format!("remount,size={used}");
        run(Command::new("mount").args(["-o", &size]).arg(&self.path))?;
        let left = statvfs(&self.path)?.blocks_available();
        anyhow::ensure!(
            left == 0,
            "{left} blocks are left on {}",
            self.path.display()
        );
        Ok(())
    }

    /// Gives it more room while it is in use.
    pub fn grow(&self, mebibytes: u32) -> anyhow::Result<()> {
        let size = format!("remount,size={mebibytes}m");
        run(Command::new("mount").args(["-o", &size]).arg(&self.path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that is just ending may still sit in it.
        let _best_effort = run(Command::new("umount").arg("--lazy").arg(&self.path));
    }
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    anyhow::ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
