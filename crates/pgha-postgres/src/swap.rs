//! Putting a new data directory in the place of an old one, which is moved aside.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::{At, FileError, sibling, sync_parent};

/// What becomes of a displaced data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Displace {
    /// Renamed to `<dir>.aside-<n>`, and only the newest so many are kept (at least 1).
    Keep(usize),
    /// Deleted: only where the operator's policy says so.
    Delete,
}

impl Default for Displace {
    fn default() -> Self {
        Self::Keep(1)
    }
}

/// The directories could not be exchanged.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// A mount point cannot be renamed.
    #[error(
        "{} cannot be moved aside because it is a mount point or lies on another file system: use \
         a directory below the mount point as postgres.data_dir", path.display()
    )]
    MountPoint {
        /// The data directory.
        path: PathBuf,
    },
}

/// Where a new data directory is built. What an interrupted job left there is no data directory
/// yet and is thrown away by the next one.
pub(crate) fn staging_dir(data_dir: &Path) -> PathBuf {
    sibling(data_dir, "staging")
}

/// An empty place to build in.
pub(crate) fn clear_staging(data_dir: &Path) -> Result<PathBuf, FileError> {
    let staging = staging_dir(data_dir);
    remove_tree(&staging)?;
    if let Some(parent) = staging.parent() {
        fs::create_dir_all(parent).at("create", parent)?;
    }
    Ok(staging)
}

/// Moves what is at `data_dir` aside and the staged directory to its place. The marker must stand
/// around this: between the two renames there is no data directory.
pub(crate) fn swap_in(data_dir: &Path, displace: Displace) -> Result<Option<PathBuf>, SwapError> {
    let aside = move_aside(data_dir)?;
    let staging = staging_dir(data_dir);
    fs::rename(&staging, data_dir).at("rename into place", data_dir)?;
    sync_parent(data_dir)?;
    discard_asides(data_dir, displace)?;
    Ok(aside.filter(|path| path.exists()))
}

fn move_aside(data_dir: &Path) -> Result<Option<PathBuf>, SwapError> {
    let nothing_there = match fs::read_dir(data_dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(error).at("list", data_dir).map_err(Into::into),
    };
    // A rename replaces an empty directory.
    if nothing_there {
        return Ok(None);
    }
    let number = asides(data_dir)?.last().map_or(1, |(number, _)| number + 1);
    let aside = sibling(data_dir, &format!("aside-{number}"));
    match fs::rename(data_dir, &aside) {
        Ok(()) => Ok(Some(aside)),
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc_codes::EBUSY | libc_codes::EXDEV)
            ) =>
        {
            Err(SwapError::MountPoint {
                path: data_dir.to_owned(),
            })
        }
        Err(error) => Err(error).at("move aside", data_dir).map_err(Into::into),
    }
}

mod libc_codes {
    use nix::errno::Errno;

    pub(super) const EBUSY: i32 = Errno::EBUSY as i32;
    pub(super) const EXDEV: i32 = Errno::EXDEV as i32;
}

fn discard_asides(data_dir: &Path, displace: Displace) -> Result<(), FileError> {
    let keep = match displace {
        Displace::Keep(count) => count.max(1),
        Displace::Delete => 0,
    };
    let asides = asides(data_dir)?;
    let excess = asides.len().saturating_sub(keep);
    asides
        .iter()
        .take(excess)
        .try_for_each(|(_, path)| remove_tree(path))
}

/// Directories moved aside earlier, oldest first.
fn asides(data_dir: &Path) -> Result<Vec<(u64, PathBuf)>, FileError> {
    let prefix = sibling(data_dir, "aside-");
    let (Some(parent), Some(prefix)) = (prefix.parent(), prefix.file_name()) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(parent).at("list", parent)? {
        let entry = entry.at("list", parent)?;
        let name = entry.file_name();
        let number = name
            .to_str()
            .zip(prefix.to_str())
            .and_then(|(n, p)| n.strip_prefix(p)?.parse().ok());
        found.extend(number.map(|number| (number, entry.path())));
    }
    found.sort();
    Ok(found)
}

fn remove_tree(path: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.at("remove", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(data_dir: &Path, content: &str) {
        let staging = clear_staging(data_dir).unwrap();
        fs::create_dir(&staging).unwrap();
        fs::write(staging.join("PG_VERSION"), content).unwrap();
    }

    fn content(dir: &Path) -> String {
        fs::read_to_string(dir.join("PG_VERSION")).unwrap()
    }

    #[test]
    fn keeps_the_newest_displaced_directory() {
        let root = tempfile::tempdir().unwrap();
        let data_dir = root.path().join("postgres");
        stage(&data_dir, "first");
        assert_eq!(swap_in(&data_dir, Displace::Keep(1)).unwrap(), None);
        for (next, displaced) in [("second", "first"), ("third", "second")] {
            stage(&data_dir, next);
            let aside = swap_in(&data_dir, Displace::Keep(1)).unwrap().unwrap();
            assert_eq!(
                (content(&data_dir).as_str(), content(&aside).as_str()),
                (next, displaced)
            );
        }
        assert_eq!(asides(&data_dir).unwrap().len(), 1);
        assert_eq!(asides(&data_dir).unwrap()[0].0, 2);
    }

    #[test]
    fn deletes_where_policy_says_so() {
        let root = tempfile::tempdir().unwrap();
        let data_dir = root.path().join("postgres");
        fs::create_dir(&data_dir).unwrap();
        fs::write(data_dir.join("PG_VERSION"), "old").unwrap();
        stage(&data_dir, "new");
        assert_eq!(swap_in(&data_dir, Displace::Delete).unwrap(), None);
        assert!(asides(&data_dir).unwrap().is_empty());
        assert_eq!(content(&data_dir), "new");
    }
}
