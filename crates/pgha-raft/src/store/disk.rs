//! What the store asks of a database: little enough that another one can take sled's place.

use std::io;

/// One key that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// The key has this value from now on.
    Put(Vec<u8>, Vec<u8>),
    /// The key is gone.
    Remove(Vec<u8>),
}

/// A key and its value.
pub(crate) type Record = (Vec<u8>, Vec<u8>);

/// An open database.
pub(crate) trait Disk: Send {
    /// All keys in order with their values. The first error ends it: a reader that skips what it
    /// cannot read takes a damaged log for a short one.
    fn read_all(&mut self) -> Result<Vec<Record>, DiskError>;

    /// Applies the changes together; they survive a loss of power when it returns.
    fn commit(&mut self, changes: Vec<Change>) -> io::Result<()>;

    /// Bytes that it takes on disk.
    fn size_bytes(&self) -> io::Result<u64>;
}

/// Why a database does not open or does not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskError {
    /// The host refuses (permission, memory, descriptors, space): nothing is said about the content.
    #[error("{0}")]
    Host(#[source] io::Error),
    /// The content is not what was written, or may not be.
    #[error("{0}")]
    Damage(String),
}

impl DiskError {
    /// Sorts an error of the operating system: only what surely says nothing about the content is
    /// the host's fault, all else is doubt.
    pub(crate) fn from_io(error: io::Error) -> Self {
        use io::ErrorKind::{
            OutOfMemory, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, ResourceBusy,
            StorageFull, WouldBlock,
        };
        let no_descriptors = matches!(
            error.raw_os_error().map(nix::errno::Errno::from_raw),
            Some(nix::errno::Errno::EMFILE | nix::errno::Errno::ENFILE)
        );
        match error.kind() {
            OutOfMemory | PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | ResourceBusy
            | StorageFull | WouldBlock => Self::Host(error),
            _ if no_descriptors => Self::Host(error),
            _ => Self::Damage(error.to_string()),
        }
    }
}
