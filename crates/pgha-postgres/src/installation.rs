//! Finding PostgreSQL's programs.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::version::{ParseVersionError, Version};

/// What pgha runs. All of them must lie in one directory: programs of different versions do not
/// work on one data directory.
pub const PROGRAMS: [&str; 7] = [
    "postgres",
    "initdb",
    "pg_basebackup",
    "pg_controldata",
    "pg_ctl",
    "pg_rewind",
    "pg_waldump",
];

/// A directory with the programs of one PostgreSQL version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Where the programs are, symbolic links resolved.
    pub bin_dir: PathBuf,
    /// Their version.
    pub version: Version,
}

/// No usable PostgreSQL.
#[derive(Debug, thiserror::Error)]
pub enum InstallationError {
    /// The named directory lacks programs.
    #[error(
        "postgres.bin_dir {} lacks {}: name the directory that holds PostgreSQL's server programs, \
         or install the server package (Debian: postgresql-NN, Red Hat: postgresqlNN-server)",
        dir.display(), missing.join(", ")
    )]
    Incomplete {
        /// The directory.
        dir: PathBuf,
        /// Programs that are not in it.
        missing: Vec<&'static str>,
    },
    /// `postgres --version` did not run.
    #[error("cannot run {} --version: {reason}", program.display())]
    CannotRun {
        /// The program.
        program: PathBuf,
        /// Why not.
        reason: String,
    },
    /// `postgres --version` printed something else.
    #[error(transparent)]
    Version(#[from] ParseVersionError),
    /// Too old or too new.
    #[error(
        "PostgreSQL {version} in {} is not supported: pgha works with {} to {}",
        dir.display(), Version::MAJOR_MIN, Version::MAJOR_MAX
    )]
    Unsupported {
        /// The directory.
        dir: PathBuf,
        /// Its version.
        version: Version,
    },
    /// Searched everywhere.
    #[error(
        "no PostgreSQL {} to {} found in PATH, /usr/lib/postgresql/*/bin or /usr/pgsql-*/bin{}: \
         install the server package (Debian: postgresql-NN, Red Hat: postgresqlNN-server) or set \
         postgres.bin_dir",
        Version::MAJOR_MIN,
        Version::MAJOR_MAX,
        list(nearly)
    )]
    NotFound {
        /// Directories that were looked at and why they would not do.
        nearly: Vec<String>,
    },
}

fn list(nearly: &[String]) -> String {
    if nearly.is_empty() {
        String::new()
    } else {
        format!(" ({})", nearly.join("; "))
    }
}

impl Installation {
    /// The installation in `bin_dir`, or else the highest version found in `PATH`, Debian's and
    /// PGDG's directories.
    pub fn find(bin_dir: Option<&Path>) -> Result<Self, InstallationError> {
        match bin_dir {
            Some(dir) => Self::in_directory(dir),
            None => Self::best_of(candidates(std::env::var_os("PATH").as_deref())),
        }
    }

    /// The full path of a program.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin_dir.join(name)
    }

    fn best_of(dirs: BTreeSet<PathBuf>) -> Result<Self, InstallationError> {
        let mut nearly = Vec::new();
        let mut found: Vec<Self> = Vec::new();
        for dir in dirs {
            match Self::in_directory(&dir) {
                Ok(installation) => found.push(installation),
                Err(error) => nearly.push(error.to_string()),
            }
        }
        found
            .into_iter()
            .max_by_key(|installation| installation.version)
            .ok_or(InstallationError::NotFound { nearly })
    }

    fn in_directory(dir: &Path) -> Result<Self, InstallationError> {
        // PATH may hold a link to `postgres` alone; its own directory holds the others.
        let real = fs::canonicalize(dir.join("postgres"))
            .ok()
            .and_then(|program| program.parent().map(Path::to_owned))
            .unwrap_or_else(|| dir.to_owned());
        let missing: Vec<_> = PROGRAMS
            .into_iter()
            .filter(|name| !is_executable(&real.join(name)))
            .collect();
        if !missing.is_empty() {
            return Err(InstallationError::Incomplete { dir: real, missing });
        }
        let version = ask_version(&real.join("postgres"))?;
        if !version.is_supported() {
            return Err(InstallationError::Unsupported { dir: real, version });
        }
        Ok(Self {
            bin_dir: real,
            version,
        })
    }
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn ask_version(program: &Path) -> Result<Version, InstallationError> {
    let cannot = |reason: String| InstallationError::CannotRun {
        program: program.to_owned(),
        reason,
    };
    let output = Command::new(program)
        .arg("--version")
        .env("LC_ALL", "C")
        .output()
        .map_err(|error| cannot(error.to_string()))?;
    if !output.status.success() {
        return Err(cannot(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).parse()?)
}

/// Directories that hold something named `postgres`, each once.
fn candidates(path: Option<&OsStr>) -> BTreeSet<PathBuf> {
    let in_path = path
        .map(|path| std::env::split_paths(path).collect())
        .unwrap_or_default();
    [
        in_path,
        versions_in(Path::new("/usr/lib/postgresql"), ""),
        versions_in(Path::new("/usr"), "pgsql-"),
    ]
    .concat()
    .into_iter()
    .filter(|dir| dir.is_absolute())
    .filter_map(|dir| fs::canonicalize(dir.join("postgres")).ok())
    .filter_map(|program| program.parent().map(Path::to_owned))
    .collect()
}

fn versions_in(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(prefix));
            number.is_some_and(|number| number.parse::<u32>().is_ok())
        })
        .map(|entry| entry.path().join("bin"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn fake(dir: &Path, version: &str, programs: &[&str]) {
        fs::create_dir_all(dir).unwrap();
        for name in programs {
            let path = dir.join(name);
            fs::write(
                &path,
                format!("#!/bin/sh\necho \"{name} (PostgreSQL) {version}\"\n"),
            )
            .unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    #[test]
    fn takes_the_highest_complete_version() {
        let root = tempfile::tempdir().unwrap();
        let dirs: BTreeSet<_> = ["14.9", "16.1", "18.0"]
            .iter()
            .map(|version| {
                let dir = root.path().join(version);
                let programs = if *version == "18.0" {
                    &PROGRAMS[..3]
                } else {
                    &PROGRAMS[..]
                };
                fake(&dir, version, programs);
                dir
            })
            .collect();
        let best = Installation::best_of(dirs).unwrap();
        assert_eq!(
            best.version,
            Version {
                major: 16,
                minor: 1
            }
        );
    }

    #[test]
    fn follows_a_link_to_the_directory_with_the_programs() {
        let root = tempfile::tempdir().unwrap();
        let real = root.path().join("real");
        fake(&real, "15.3", &PROGRAMS);
        let linked = root.path().join("linked");
        fs::create_dir(&linked).unwrap();
        symlink(real.join("postgres"), linked.join("postgres")).unwrap();
        let found = Installation::find(Some(&linked)).unwrap();
        assert_eq!(found.bin_dir, fs::canonicalize(&real).unwrap());
    }

    #[test]
    fn says_what_is_missing_and_the_way_out() {
        let root = tempfile::tempdir().unwrap();
        fake(root.path(), "15.3", &["postgres", "initdb", "pg_ctl"]);
        let error = Installation::find(Some(root.path()))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("pg_basebackup, pg_controldata, pg_rewind"),
            "{error}"
        );
        assert!(error.contains("postgresql-NN"), "{error}");
    }

    #[test]
    fn refuses_versions_it_does_not_know() {
        let root = tempfile::tempdir().unwrap();
        fake(root.path(), "12.3", &PROGRAMS);
        let error = Installation::find(Some(root.path())).unwrap_err();
        assert!(
            matches!(error, InstallationError::Unsupported { .. }),
            "{error}"
        );
    }

    #[test]
    fn finds_what_this_machine_has() {
        let found = Installation::find(None).unwrap();
        assert!(found.version.is_supported());
        assert!(found.program("pg_rewind").is_file());
    }
}
