//! The process in its place: the same program with the same arguments, under the same process id, so
//! that a service manager sees nothing happen.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Puts a new sidecar in the place of this one, at once and wherever this one stands. Sockets, locks
/// and the gate are gone with it; what it leaves behind is found as after a kill: the guard of a
/// primary empties its tree, that of a replica waits for the new sidecar.
pub(crate) fn again() -> ! {
    tracing::info!("the sidecar starts anew");
    let error = match std::env::current_exe() {
        Ok(program) => Command::new(program)
            .args(std::env::args_os().skip(1))
            .exec(),
        Err(error) => error,
    };
    tracing::error!(%error, "the sidecar cannot start itself anew: start it again");
    std::process::exit(1);
}
