//! Reads what the guard says until it is gone.

use std::io::{self, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::wait::{Id, WaitPidFlag, waitid};
use pgha_core::Mono;

use crate::frame::FrameReader;
use crate::health::Doubt;
use crate::message::Event;
use crate::{clock, process};

pub(super) struct Shared {
    pub(super) state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    /// The guard has been reaped: its number may be another's.
    pub(super) reaped: bool,
    /// Since when the guard runs a tree under a deadline.
    pub(super) deadline_since: Option<Mono>,
    pub(super) doubt: Doubt,
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads what the guard says until it is gone.
pub(super) struct Listener {
    pub(super) control: UnixStream,
    pub(super) child: Child,
    pub(super) shared: Arc<Shared>,
}

impl Listener {
    pub(super) fn run(mut self, on_event: &dyn Fn(Event)) {
        let broken = self.read_events(on_event).err();
        // A guard that talks nonsense takes no orders either: for it, we are gone.
        let _ = self.control.shutdown(Shutdown::Both);
        let status = self.await_end();
        self.shared.state().deadline_since = None;
        let status = match (status, broken) {
            (Ok(status), None) => status.to_string(),
            (Ok(status), Some(error)) => format!("{status}, after {error}"),
            (Err(error), _) => error.to_string(),
        };
        on_event(Event::GuardGone { status });
    }

    fn read_events(&mut self, on_event: &dyn Fn(Event)) -> io::Result<()> {
        let mut frames = FrameReader::default();
        let mut bytes = [0; 4096];
        loop {
            match self.control.read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(count) => frames.push(bytes.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            while let Some(event) = frames.next()? {
                self.note(&event);
                on_event(event);
            }
        }
    }

    fn note(&self, event: &Event) {
        let mut state = self.shared.state();
        match event {
            Event::Started { primary: true, .. } | Event::Assumed { .. } => {
                state.deadline_since = Some(clock::now());
            }
            Event::Started { primary: false, .. }
            | Event::StoodDown { .. }
            | Event::Empty(_)
            | Event::GuardGone { .. } => state.deadline_since = None,
            Event::PostmasterExited { .. }
            | Event::Ready { .. }
            | Event::Refused { .. }
            | Event::ReleaseFinished { .. }
            | Event::Stuck { .. } => {}
        }
    }

    /// Waits for the guard's end without reaping it, then reaps it under the lock: between the two
    /// its number is still its own.
    fn await_end(&mut self) -> io::Result<ExitStatus> {
        let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        let guard = || Id::Pid(process::raw(self.child.id()));
        while let Err(nix::Error::EINTR) = waitid(guard(), ended) {}
        let mut state = self.shared.state();
        state.reaped = true;
        self.child.wait()
    }
}
