//! The command line of the postmaster. The guard spawns it.

use std::path::PathBuf;

use super::parameters::{UserParameters, WAL_SENDERS_MIN};
use super::quote::{QuoteError, refuse_control};
use crate::control::StandbyFloor;
use crate::files::FileError;
use crate::marker::Marker;
use crate::{Installation, Layout};

/// What a start needs to know.
#[derive(Clone, Debug)]
pub struct StartOptions {
    /// `listen_addresses`: comma-separated, `*` for all.
    pub listen_addresses: String,
    /// TCP port; also names the socket file.
    pub port: u16,
    /// `cluster_name`: shows in the process list.
    pub cluster_name: String,
    /// What it starts as.
    pub role: StartRole,
    /// The users' parameters.
    pub parameters: UserParameters,
}

/// What PostgreSQL starts as. The signal files say it, this only sets limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartRole {
    /// Crash recovery, then read and write.
    Primary,
    /// Recovery. Its limits are raised to what the control file says of the primary.
    Standby(StandbyFloor),
}

/// A command to spawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresCommand {
    /// The `postgres` binary.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables to take out of the environment: libpq's and the service manager's, which must
    /// not reach PostgreSQL's own children.
    pub env_remove: Vec<String>,
}

/// PostgreSQL must not or cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The marker stands (P8).
    #[error(
        "PostgreSQL is not started: a clone, rewind or initdb of {} has not finished; it must be \
         done again first", data_dir.display()
    )]
    JobUnfinished {
        /// The data directory.
        data_dir: PathBuf,
    },
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// A value does not fit.
    #[error(transparent)]
    Quote(#[from] QuoteError),
}

const ENV_REMOVE: [&str; 8] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_FDS",
    "PGDATA",
    "PGPORT",
    "PGPASSWORD",
    "PGPASSFILE",
];

/// Refuses while a marker stands (P8).
pub fn refuse_unfinished(layout: &Layout) -> Result<(), StartError> {
    if Marker::stands(&layout.run_dir)? {
        return Err(StartError::JobUnfinished {
            data_dir: layout.data_dir.clone(),
        });
    }
    Ok(())
}

/// The command that starts PostgreSQL. Refused while a marker stands.
pub fn postgres_command(
    installation: &Installation,
    layout: &Layout,
    options: &StartOptions,
) -> Result<PostgresCommand, StartError> {
    refuse_unfinished(layout)?;
    let mut args = vec![
        "-D".to_owned(),
        layout.data_dir.to_string_lossy().into_owned(),
    ];
    for (name, value) in settings(layout, options) {
        args.push("-c".to_owned());
        args.push(format!("{name}={}", refuse_control(&value)?));
    }
    Ok(PostgresCommand {
        program: installation.program("postgres"),
        args,
        env_remove: ENV_REMOVE.map(str::to_owned).to_vec(),
    })
}

/// What beats every file, `postgresql.auto.conf` included.
fn settings(layout: &Layout, options: &StartOptions) -> Vec<(&'static str, String)> {
    let user =
        |name: &str, default: &str| options.parameters.get(name).unwrap_or(default).to_owned();
    let senders = WAL_SENDERS_MIN.to_string();
    let mut settings = vec![
        ("listen_addresses", options.listen_addresses.clone()),
        ("port", options.port.to_string()),
        (
            "unix_socket_directories",
            layout.socket_dir.to_string_lossy().into_owned(),
        ),
        ("hba_file", layout.hba_file().to_string_lossy().into_owned()),
        (
            "ident_file",
            layout.ident_file().to_string_lossy().into_owned(),
        ),
        ("cluster_name", options.cluster_name.clone()),
        // A crash is an exit of the postmaster and takes the one path that has an epoch.
        ("restart_after_crash", "off".to_owned()),
        ("hot_standby", "on".to_owned()),
        ("fsync", "on".to_owned()),
        ("full_page_writes", "on".to_owned()),
        ("wal_log_hints", "on".to_owned()),
        ("data_sync_retry", "off".to_owned()),
        ("wal_level", user("wal_level", "replica")),
        ("max_wal_senders", user("max_wal_senders", &senders)),
        (
            "max_replication_slots",
            user("max_replication_slots", &senders),
        ),
    ];
    if let StartRole::Standby(floor) = options.role {
        raise_to_floor(&mut settings, floor, &options.parameters);
    }
    settings
}

/// Raises the limits of a standby to its primary's, each with what it would be otherwise.
fn raise_to_floor(
    settings: &mut Vec<(&'static str, String)>,
    floor: StandbyFloor,
    parameters: &UserParameters,
) {
    let limits = [
        ("max_connections", floor.max_connections, 100),
        ("max_worker_processes", floor.max_worker_processes, 8),
        ("max_wal_senders", floor.max_wal_senders, WAL_SENDERS_MIN),
        (
            "max_prepared_transactions",
            floor.max_prepared_transactions,
            0,
        ),
        (
            "max_locks_per_transaction",
            floor.max_locks_per_transaction,
            64,
        ),
    ];
    for (name, least, default) in limits {
        let own = parameters
            .get(name)
            .and_then(|value| value.trim().parse().ok())
            .unwrap_or(default);
        if least > own {
            settings.retain(|(other, _)| *other != name);
            settings.push((name, least.to_string()));
        }
    }
}

#[cfg(test)]
mod tests;
