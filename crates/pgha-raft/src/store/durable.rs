//! Small steps that make names, not only contents, survive a loss of power.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Makes the names in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes `path` itself durable as a name in its parent.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        Some(parent) => sync_dir(parent),
        None => sync_dir(Path::new(".")),
    }
}

/// Makes all that is in `dir` durable, with its content.
pub(crate) fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            File::open(&path)?.sync_all()?;
        }
    }
    sync_dir(dir)
}

/// Makes `path` durable as a name, and every directory above it: whoever made them need not have.
pub(crate) fn sync_names_up(path: &Path) -> io::Result<()> {
    for (above, dir) in path.canonicalize()?.ancestors().skip(1).enumerate() {
        match sync_dir(dir) {
            // What this user may not read is not of its making, but what its own lies in has to be.
            Err(error) if above > 0 && error.kind() == io::ErrorKind::PermissionDenied => {}
            other => other?,
        }
    }
    Ok(())
}

/// Renames, durably.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_parent(to)
}

/// Removes a directory that may not be there.
pub(crate) fn remove_dir(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
