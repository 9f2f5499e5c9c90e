//! The files that tell PostgreSQL what to start as (manual, 26.3.4 and 27.2.4 "Setting Up a
//! Standby Server"). A `postmaster.pid` left behind is PostgreSQL's own matter: it knows how to
//! tell a living one from a dead one.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use crate::files::{At, FileError, on_disk, remove_durably, sync_directory};

/// The data directory cannot be made to start as wanted.
#[derive(Debug, thiserror::Error)]
pub enum SignalFileError {
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not consistent by itself.
    #[error(
        "{} has a backup_label: it is a base backup or a rewound directory that has not been \
         replayed yet; start it as a standby, not as a primary", data_dir.display()
    )]
    NotReplayed {
        /// The data directory.
        data_dir: PathBuf,
    },
}

/// The next start is a standby's. `recovery.signal` would have no effect beside `standby.signal`,
/// but would make it a point-in-time recovery should the latter be removed later.
pub fn prepare_standby(data_dir: &Path) -> Result<(), SignalFileError> {
    let signal = data_dir.join("standby.signal");
    on_disk(|| {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&signal);
        file.and_then(|file| file.sync_all())
    })
    .at("create", &signal)?;
    remove_durably(&data_dir.join("recovery.signal"))?;
    sync_directory(data_dir)?;
    Ok(())
}

/// The next start is a primary's: crash recovery on its own timeline. Refused where PostgreSQL
/// has a base backup to replay first: it would come up before it is complete.
pub fn prepare_primary(data_dir: &Path) -> Result<(), SignalFileError> {
    if fs::exists(data_dir.join("backup_label")).at("inspect", data_dir)? {
        return Err(SignalFileError::NotReplayed {
            data_dir: data_dir.to_owned(),
        });
    }
    remove_durably(&data_dir.join("standby.signal"))?;
    remove_durably(&data_dir.join("recovery.signal"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn standby_and_back() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("recovery.signal"), "").unwrap();
        prepare_standby(dir.path()).unwrap();
        prepare_standby(dir.path()).unwrap();
        assert_eq!(there(dir.path()), ["standby.signal"]);
        prepare_primary(dir.path()).unwrap();
        prepare_primary(dir.path()).unwrap();
        assert!(there(dir.path()).is_empty());
    }

    #[test]
    fn a_base_backup_does_not_start_as_a_primary_and_keeps_its_label() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("backup_label"), "x").unwrap();
        fs::write(dir.path().join("standby.signal"), "").unwrap();
        let error = prepare_primary(dir.path()).unwrap_err();
        assert!(matches!(error, SignalFileError::NotReplayed { .. }));
        prepare_standby(dir.path()).unwrap();
        assert_eq!(there(dir.path()), ["backup_label", "standby.signal"]);
    }
}
