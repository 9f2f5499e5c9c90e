//! What a path that should be a data directory holds.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::Uid;

use crate::Installation;
use crate::control::{ControlData, ControlError};
use crate::files::{At, FileError, read_if_present};

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataDirectory {
    /// Nothing at all.
    Missing,
    /// A directory with nothing in it.
    Empty,
    /// Somebody's files, but no PostgreSQL: not to be touched.
    NotPostgres {
        /// One of them, for the message.
        example: String,
    },
    /// A PostgreSQL cluster of the installation's major version.
    Cluster(Box<Cluster>),
    /// A PostgreSQL cluster of another major version.
    OtherMajor {
        /// What its `PG_VERSION` says.
        major: String,
    },
    /// A PostgreSQL cluster whose control file cannot be believed.
    Damaged {
        /// Why not.
        reason: String,
    },
    /// A directory of another operating system user: PostgreSQL refuses it.
    ForeignOwner {
        /// Its owner.
        uid: u32,
    },
}

/// A PostgreSQL cluster on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its control file.
    pub control: ControlData,
    /// Its major version, from `PG_VERSION`.
    pub major: u32,
    /// Whether `standby.signal` is there: it would start as a standby.
    pub standby: bool,
    /// Whether `backup_label` is there: a base backup or a rewind that has not been replayed yet.
    pub backup_label: bool,
}

/// The path could not be looked into.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// `pg_controldata` could not be run.
    #[error(transparent)]
    Control(ControlError),
}

impl DataDirectory {
    /// Looks at `path`. Cheap: a few system calls and one `pg_controldata`; it blocks.
    pub fn inspect(installation: &Installation, path: &Path) -> Result<Self, InspectError> {
        let metadata = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::Missing),
            other => other.at("inspect", path)?,
        };
        if metadata.uid() != Uid::effective().as_raw() {
            return Ok(Self::ForeignOwner {
                uid: metadata.uid(),
            });
        }
        match read_if_present(&path.join("PG_VERSION"))? {
            None => Ok(Self::without_postgres(path)?),
            Some(version) => Self::of_postgres(installation, path, version.trim()),
        }
    }

    fn without_postgres(path: &Path) -> Result<Self, FileError> {
        let entry = fs::read_dir(path).at("list", path)?.next();
        Ok(match entry.transpose().at("list", path)? {
            None => Self::Empty,
            Some(entry) => Self::NotPostgres {
                example: entry.file_name().to_string_lossy().into_owned(),
            },
        })
    }

    fn of_postgres(
        installation: &Installation,
        path: &Path,
        version: &str,
    ) -> Result<Self, InspectError> {
        if version != installation.version.major.to_string() {
            return Ok(Self::OtherMajor {
                major: version.to_owned(),
            });
        }
        match ControlData::read(installation, path) {
            Ok(control) => Ok(Self::Cluster(Box::new(Cluster {
                control,
                major: installation.version.major,
                standby: path.join("standby.signal").exists(),
                backup_label: path.join("backup_label").exists(),
            }))),
            // A control file that is gone or cut short makes the program fail: the directory is
            // at fault then. A program that is gone says nothing about the directory.
            Err(error @ ControlError::Run { .. })
                if !installation.program("pg_controldata").is_file() =>
            {
                Err(InspectError::Control(error))
            }
            Err(error) => Ok(Self::Damaged {
                reason: error.to_string(),
            }),
        }
    }
}
