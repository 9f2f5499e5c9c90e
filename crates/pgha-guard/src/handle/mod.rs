//! The sidecar's end of a guard.

mod listener;
mod options;
mod spawn;

use std::io;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{MsgFlags, send};
use pgha_core::Mono;

use crate::board::LeaseBoard;
use crate::frame;
use crate::health::Health;
use crate::message::{Event, Order};
use crate::tree::{self, EmptyProof, Scope, TreeError};
use crate::{clock, process};
use listener::{Listener, Shared, State};
use spawn::start;

pub use options::GuardOptions;
pub use spawn::SpawnError;

/// An order did not reach the guard.
#[derive(Debug, thiserror::Error)]
#[error(
    "the guard {pid} takes no orders: {error}; await GuardGone, or kill and empty it once it stalls"
)]
pub struct SendError {
    pid: u32,
    error: io::Error,
}

/// A running guard.
///
/// Dropping the handle is, for the guard, the sidecar's death: a primary's tree is emptied and its
/// epoch released, a standby's goes on.
pub struct GuardHandle {
    pid: u32,
    board: LeaseBoard,
    control: UnixStream,
    /// Keeps the parts of two orders from mixing.
    sending: Mutex<()>,
    shared: Arc<Shared>,
    scope: Scope,
}

impl GuardHandle {
    /// Starts a guard in a session of its own, so that neither this process's death nor a
    /// terminal's Ctrl-C ends it. `on_event` is called by a thread of the handle's, in order; the
    /// last event is [`Event::GuardGone`].
    pub fn spawn(
        options: &GuardOptions,
        on_event: impl Fn(Event) + Send + 'static,
    ) -> Result<Self, SpawnError> {
        let failed = |error| SpawnError::Process {
            program: options.program.clone(),
            error,
        };
        let board = LeaseBoard::create()?;
        board.stamp_guard(clock::now());
        let (control, guards_end) = UnixStream::pair().map_err(failed)?;
        let child = start(options, guards_end, &board).map_err(failed)?;
        let pid = child.id();
        let shared = Arc::new(Shared {
            state: Mutex::new(State::default()),
        });
        let listener = Listener {
            control: control.try_clone().map_err(failed)?,
            child,
            shared: Arc::clone(&shared),
        };
        thread::Builder::new()
            .name("guard-events".to_owned())
            .spawn(move || listener.run(&on_event))
            .map_err(failed)?;
        Ok(Self {
            pid,
            board,
            control,
            sending: Mutex::new(()),
            shared,
            scope: options.scope(),
        })
    }

    /// The guard's process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The board that this guard reads.
    pub fn board(&self) -> &LeaseBoard {
        &self.board
    }

    /// Sends an order, without waiting. The answer is an event.
    pub fn send(&self, order: &Order) -> Result<(), SendError> {
        let failed = |error| SendError {
            pid: self.pid,
            error,
        };
        let frame = frame::encode(order).map_err(failed)?;
        let _turn = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let sent = send(self.control.as_raw_fd(), &frame, flags).map_err(|e| failed(e.into()))?;
        if sent < frame.len() {
            // The rest would be taken for another order: no order passes here any more.
            let _ = self.control.shutdown(Shutdown::Both);
            return Err(failed(io::ErrorKind::WouldBlock.into()));
        }
        Ok(())
    }

    /// How long ago the guard's loop last said that it lives. It says so every L/10 while a
    /// deadline applies, seldom otherwise.
    pub fn stamp_age(&self, now: Mono) -> Duration {
        now.since(self.board.guard_stamp())
    }

    /// What to think of the guard at this moment. To be asked again when the answer says so: a
    /// stall is believed at the second look only.
    pub fn health(&self, now: Mono) -> Health {
        let mut state = self.shared.state();
        let Some(since) = state.deadline_since else {
            state.doubt.clear();
            return Health::Alive;
        };
        let last = since.max(self.board.guard_stamp());
        state.doubt.judge(last, self.board.lease(), now)
    }

    /// Kills the guard and then whatever of its tree is left. For a guard that stalls or is gone.
    pub fn kill_and_empty(&self, deadline: Mono) -> Result<EmptyProof, TreeError> {
        {
            let state = self.shared.state();
            if !state.reaped {
                // A guard that has just ended is not reaped before this lock is free.
                let _ = kill(process::raw(self.pid), Signal::SIGKILL);
            }
        }
        // The guard has the lock open too, but is the listener's to reap.
        tree::empty(&self.scope.clone().sparing(self.pid), deadline)
    }
}

impl Drop for GuardHandle {
    fn drop(&mut self) {
        // The listener's copy would keep the connection, and the guard's belief in us, alive.
        let _ = self.control.shutdown(Shutdown::Both);
    }
}
