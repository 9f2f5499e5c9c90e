//! What lies in a directory: to tell whether a refused start has touched anything.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Every file below a directory, as far as its name, owner, size and times go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footprint(BTreeMap<PathBuf, Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    inode: u64,
    owner: u32,
    bytes: u64,
    modified: (i64, i64),
}

impl Footprint {
    /// Looks at the directory itself and everything below it.
    pub fn of(directory: &Path) -> anyhow::Result<Self> {
        let mut entries = BTreeMap::new();
        let mut ahead = vec![directory.to_owned()];
        while let Some(path) = ahead.pop() {
            let metadata = path.symlink_metadata();
            let metadata =
                metadata.with_context(|| format!("cannot look at {}", path.display()))?;
            if metadata.is_dir() {
                for entry in std::fs::read_dir(&path)? {
                    ahead.push(entry?.path());
                }
            }
            let entry = Entry {
                inode: metadata.ino(),
                owner: metadata.uid(),
                bytes: metadata.len(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
            };
            entries.insert(path, entry);
        }
        Ok(Self(entries))
    }

    /// Fails with what was made, changed or removed since.
    pub fn is_unchanged(&self, directory: &Path) -> anyhow::Result<()> {
        let now = Self::of(directory)?;
        let differing: Vec<&PathBuf> = (self.0.keys())
            .chain(now.0.keys().filter(|path| !self.0.contains_key(*path)))
            .filter(|path| self.0.get(*path) != now.0.get(*path))
            .collect();
        anyhow::ensure!(differing.is_empty(), "touched: {differing:?}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_changed_or_removed_is_seen() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let below = directory.path().join("below");
        std::fs::create_dir(&below)?;
        std::fs::write(below.join("kept"), "1")?;
        let before = Footprint::of(directory.path())?;
        before.is_unchanged(directory.path())?;
        std::fs::write(below.join("kept"), "12")?;
        assert!(before.is_unchanged(directory.path()).is_err());
        let before = Footprint::of(directory.path())?;
        std::fs::write(below.join("made"), "")?;
        assert!(before.is_unchanged(directory.path()).is_err());
        std::fs::remove_file(below.join("kept"))?;
        assert!(before.is_unchanged(directory.path()).is_err());
        Ok(())
    }
}
