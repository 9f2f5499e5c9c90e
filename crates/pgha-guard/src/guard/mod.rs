//! The guard process.
//!
//! One thread, one loop: wait for the earliest of an order, a signal, a knock at the door and the
//! next point in time; look at the deadline first, then at the rest. It never waits for anybody
//! else: not for the sidecar, not for the release program, and it writes to no log.

mod channel;
mod emptying;
mod judge;
mod knock;
mod options;
mod orders;
mod postmaster;
mod releasing;
mod retiring;
mod setup;
mod state;
mod wake;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use options::Options;
use state::Guard;

/// Runs a guard until its tree is empty and nobody needs it any more. `args` are those after the
/// word that chose the guard; [`crate::GuardOptions`] makes them.
///
/// To be called from the main thread of a process that has started no other, before anything else:
/// the postmaster dies with the thread that started it, and the guard's memory is to stay small.
pub fn guard_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let options = match Options::parse(args) {
        Ok(options) => options,
        Err(error) => return fail(&error, ExitCode::from(2)),
    };
    match setup::prepare(options) {
        Ok(guard) => run(guard),
        Err(error) => fail(&error, ExitCode::FAILURE),
    }
}

fn fail(error: &dyn std::error::Error, code: ExitCode) -> ExitCode {
    // Nowhere to complain to is no reason to panic.
    let _ = writeln!(io::stderr(), "pgha guard: {error}");
    code
}

fn run(mut guard: Guard) -> ExitCode {
    loop {
        guard.judge_deadline();
        guard.notice_signals();
        guard.notice_ends();
        guard.take_orders();
        guard.answer_door();
        guard.advance();
        guard.stamp();
        if guard.is_done() {
            guard.leave();
            return ExitCode::SUCCESS;
        }
        guard.wait();
    }
}
