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
    /// `pg_controldata` could not be run, or could not read a control file that is there.
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
            // Says nothing about the directory: the program is gone, or there is no process, memory
            // or descriptor to be had.
            Err(error @ ControlError::Run { .. }) => Err(InspectError::Control(error)),
            Err(error @ ControlError::Unread(_)) if ControlData::is_whole(path)? => {
                Err(InspectError::Control(error))
            }
            Err(error) => Ok(Self::Damaged {
                reason: error.to_string(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::Version;

    /// What is found where `pg_controldata` does this, and the control file is so long.
    fn found(script: &str, control_file_bytes: usize) -> Result<DataDirectory, InspectError> {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("pg_controldata");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let data_dir = dir.path().join("data");
        fs::create_dir_all(data_dir.join("global")).unwrap();
        fs::write(data_dir.join("PG_VERSION"), "15\n").unwrap();
        let control_file = data_dir.join("global/pg_control");
        fs::write(control_file, vec![0; control_file_bytes]).unwrap();
        let installation = Installation {
            bin_dir: dir.path().to_owned(),
            version: Version {
                major: 15,
                minor: 0,
            },
        };
        DataDirectory::inspect(&installation, &data_dir)
    }

    /// Damaged data is cloned over: what the machine has no process or descriptor for is not damaged (P8).
    #[test]
    fn a_program_that_cannot_look_says_nothing_about_the_data() {
        let cut_short = found("exit 1", 100);
        assert!(
            matches!(cut_short, Ok(DataDirectory::Damaged { .. })),
            "{cut_short:?}"
        );
        for script in ["exit 1", "kill -9 $$"] {
            let found = found(script, 8192);
            assert!(
                matches!(found, Err(InspectError::Control(_))),
                "{script}: {found:?}"
            );
        }
    }
}
