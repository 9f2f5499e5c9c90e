//! Having an epoch released when no sidecar does it: the guard has no network code and runs the
//! release program.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use pgha_core::{Epoch, Mono};

use super::postmaster::unblock_signals;
use super::state::{Guard, Phase};
use crate::message::{Event, PostmasterStatus, ReleaseOutcome};
use crate::release::ReleaseNote;
use crate::{clock, process};

/// What a pipe takes without a reader (pipe(7)): the guard must never wait for one.
const NOTE_BYTES_MAX: usize = 64 << 10;

/// The release program, running.
pub(super) struct Releasing {
    pid: u32,
    epoch: Epoch,
    until: Mono,
    timed_out: bool,
}

impl Releasing {
    /// A child of the guard that does not belong to the tree.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn next_look(&self) -> Mono {
        if self.timed_out {
            Mono::NEVER
        } else {
            self.until
        }
    }

    /// Its own process group, so that whatever it has started goes with it.
    fn kill(&self) {
        let _ = killpg(process::raw(self.pid), Signal::SIGKILL);
    }
}

impl Guard {
    /// The sidecar has the secret and sees to the release itself.
    pub(super) fn acknowledge(&mut self, acknowledged: Epoch) {
        if let Phase::AwaitingAck { note, .. } = &self.phase
            && note.epoch == acknowledged
        {
            self.phase = Phase::Idle;
        }
    }

    /// Runs the release program for the epoch that nobody has acknowledged, if there is one.
    pub(super) fn release_unacknowledged(&mut self) {
        let phase = std::mem::replace(&mut self.phase, Phase::Idle);
        let Phase::AwaitingAck { note, .. } = phase else {
            self.phase = phase;
            return;
        };
        if let Some(older) = self.releasing.take() {
            // Its epoch is over for everybody who learns of this one.
            older.kill();
        }
        let epoch = note.epoch;
        match self.run_program(&note) {
            Ok(pid) => {
                let until = clock::now() + self.options.release_within;
                self.releasing = Some(Releasing {
                    pid,
                    epoch,
                    until,
                    timed_out: false,
                });
            }
            Err(error) => {
                let words = format!("{}: {error}", self.options.release_program.display());
                let outcome = ReleaseOutcome::Failed(words);
                self.say(&Event::ReleaseFinished { epoch, outcome });
            }
        }
    }

    #[allow(unsafe_code)]
    fn run_program(&self, note: &ReleaseNote) -> io::Result<u32> {
        let note = serde_json::to_vec(note)?;
        if note.len() > NOTE_BYTES_MAX {
            return Err(io::Error::other(format!(
                "a note of {} bytes is too long",
                note.len()
            )));
        }
        let mut command = Command::new(&self.options.release_program);
        command.arg("release").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        // SAFETY: one system call, async-signal-safe.
        unsafe { command.pre_exec(unblock_signals) };
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read fails, and is seen to.
            let _ = stdin.write_all(&note);
        }
        Ok(child.id())
    }

    /// A sidecar that stands still may have an acknowledgement of the old tree in a socket, and passes it
    /// on when it runs again, as long as its gate is open by its clock (P1). So nothing is released before
    /// the deadline of that tree, which comes after the gate's end. A sidecar that has died passes nothing
    /// on, and its end is seen at once.
    fn judge_ack(&mut self, now: Mono) {
        let deadline = self.board.deadline();
        let Phase::AwaitingAck { note, until } = &mut self.phase else {
            return;
        };
        if let Some(deadline) = deadline.filter(|deadline| deadline.epoch == note.epoch) {
            *until = deadline.kill_at.max(*until);
        }
        if now >= *until {
            self.release_unacknowledged();
        }
    }

    pub(super) fn advance_releasing(&mut self, now: Mono) {
        self.judge_ack(now);
        if let Some(releasing) = &mut self.releasing
            && now >= releasing.next_look()
        {
            releasing.timed_out = true;
            releasing.kill();
        }
    }

    pub(super) fn notice_release_end(&mut self, pid: u32, status: PostmasterStatus) {
        let Some(releasing) = self.releasing.take_if(|releasing| releasing.pid == pid) else {
            return;
        };
        let outcome = match status {
            _ if releasing.timed_out => ReleaseOutcome::TimedOut,
            PostmasterStatus::Exited(0) => ReleaseOutcome::Sent,
            PostmasterStatus::Exited(code) => ReleaseOutcome::Failed(format!("exit code {code}")),
            PostmasterStatus::Killed(signal) => ReleaseOutcome::Failed(format!("signal {signal}")),
        };
        let epoch = releasing.epoch;
        self.say(&Event::ReleaseFinished { epoch, outcome });
    }
}
