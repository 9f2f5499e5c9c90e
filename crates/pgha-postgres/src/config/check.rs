//! Asking PostgreSQL itself whether it would start with a value.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::parameters::UserParameters;
use crate::Installation;

/// PostgreSQL would not start with these parameters, or could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It says so.
    #[error("PostgreSQL does not accept the parameters: {0}")]
    Refused(String),
    /// It could not be run.
    #[error("cannot run {} to check parameters: {reason}", program.display())]
    CannotRun {
        /// The program.
        program: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// Has PostgreSQL parse the parameters without starting. A value that it refuses is harmless at a
/// reload, but keeps it from the next start: with a setting of the whole cluster, on every member.
pub async fn check_parameters(
    installation: &Installation,
    data_dir: &Path,
    parameters: &UserParameters,
    limit: Duration,
) -> Result<(), CheckError> {
    let program = installation.program("postgres");
    let cannot = |reason: String| CheckError::CannotRun {
        program: program.clone(),
        reason,
    };
    let mut command = Command::new(&program);
    command
        .arg("-D")
        .arg(data_dir)
        .args(["-C", "data_directory"]);
    // What acts now may be what is to be corrected.
    command.args(["-c", "config_file=/dev/null"]);
    for (name, value) in parameters.iter() {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    command
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = match tokio::time::timeout(limit, command.output()).await {
        Ok(output) => output.map_err(|error| cannot(error.to_string()))?,
        Err(_) => return Err(cannot(format!("no answer within {limit:?}"))),
    };
    if output.status.success() {
        return Ok(());
    }
    Err(CheckError::Refused(
        String::from_utf8_lossy(&output.stderr)
            .trim()
            .replace('\n', "; "),
    ))
}
