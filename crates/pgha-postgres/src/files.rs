//! Files that survive a crash: written beside, flushed, renamed, and the directory flushed too.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tokio::runtime::{Handle, RuntimeFlavor};

/// A file or directory could not be worked on.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct FileError {
    /// What was tried.
    pub action: &'static str,
    /// On what.
    pub path: PathBuf,
    /// What the system answered.
    #[source]
    pub source: io::Error,
}

pub(crate) trait At<T> {
    /// Names the action and the path in the error.
    fn at(self, action: &'static str, path: &Path) -> Result<T, FileError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, FileError> {
        self.map_err(|source| FileError {
            action,
            path: path.to_owned(),
            source,
        })
    }
}

/// Does what may wait for a disk. It holds up who asked and nobody else: the other tasks of the same
/// thread, Raft's among them, go on elsewhere. A stalled data disk must not silence the member.
pub(crate) fn on_disk<T>(work: impl FnOnce() -> T) -> T {
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    match flavor {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        // Nobody else to be held up, or no way round it.
        Ok(_) | Err(_) => work(),
    }
}

/// Replaces `path` by a file with this content, mode 0600. After a crash there is the old file or
/// the new one, never a part.
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let beside = sibling(path, "new");
    on_disk(|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)
            .at("create", &beside)?;
        file.write_all(content).at("write", &beside)?;
        file.sync_all().at("flush", &beside)?;
        fs::rename(&beside, path).at("rename into place", path)?;
        sync_parent(path)
    })
}

/// Flushes the directory itself: what was created, renamed or removed in it stays so.
pub(crate) fn sync_directory(path: &Path) -> Result<(), FileError> {
    on_disk(|| File::open(path).and_then(|directory| directory.sync_all()))
        .at("flush directory", path)
}

/// Flushes the directory that holds `path`.
pub(crate) fn sync_parent(path: &Path) -> Result<(), FileError> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent),
        Some(_) | None => sync_directory(Path::new(".")),
    }
}

/// Removes a file durably; one that is not there is fine. Tells whether it was there.
pub(crate) fn remove_durably(path: &Path) -> Result<bool, FileError> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at("remove", path),
    }
}

/// The text of a file, `None` where there is none.
pub(crate) fn read_if_present(path: &Path) -> Result<Option<String>, FileError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).at("read", path),
    }
}

/// `path` with `.suffix` behind its last part: in the same directory, hence on the same file
/// system, hence in reach of a rename.
pub(crate) fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(suffix);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn replaces_the_whole_content_and_keeps_others_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        write_atomically(&path, b"a longer content").unwrap();
        write_atomically(&path, b"short").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"short");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_slow_disk_holds_up_no_other_task() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        let (said, heard) = std::sync::mpsc::channel();
        let slow = runtime.spawn(async move {
            // Spawned first, so that both are this one worker's.
            tokio::spawn(async move { said.send(()).unwrap() });
            on_disk(|| heard.recv_timeout(std::time::Duration::from_secs(10)))
        });
        runtime.block_on(slow).unwrap().expect("the other task ran");
    }

    #[test]
    fn removing_what_is_not_there_is_no_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "x").unwrap();
        assert!(remove_durably(&path).unwrap());
        assert!(!remove_durably(&path).unwrap());
    }
}
