//! Where a member keeps what belongs to its PostgreSQL.

use std::path::PathBuf;

/// The paths of one member's PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// PostgreSQL's data directory (manual, 73.1 "Database File Layout").
    pub data_dir: PathBuf,
    /// Run files, outside the data directory: the marker.
    pub run_dir: PathBuf,
    /// Generated `pg_hba.conf`, `pg_ident.conf` and password files, outside the data directory:
    /// `pg_rewind` and `pg_basebackup` copy everything that is in it from another member.
    pub conf_dir: PathBuf,
    /// Directory of the unix socket.
    pub socket_dir: PathBuf,
}

impl Layout {
    /// The generated client authentication file.
    pub fn hba_file(&self) -> PathBuf {
        self.conf_dir.join("pg_hba.conf")
    }

    /// The generated user name map.
    pub fn ident_file(&self) -> PathBuf {
        self.conf_dir.join("pg_ident.conf")
    }

    /// The password file of the replication role (manual, 34.16 "The Password File").
    pub fn passfile(&self) -> PathBuf {
        self.conf_dir.join("replication.pgpass")
    }
}
