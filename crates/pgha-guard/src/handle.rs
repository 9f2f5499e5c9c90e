//! The sidecar's end of a guard.

use std::ffi::OsString;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf, absolute};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::setsid;
use pgha_core::Mono;

use crate::board::{BoardError, LeaseBoard};
use crate::frame::{self, FrameReader};
use crate::health::{Doubt, Health};
use crate::lock::lock_path_beside;
use crate::message::{Event, Order};
use crate::tree::{self, EmptyProof, Scope, TreeError};
use crate::{clock, process};

const ACK_WAIT_DEFAULT: Duration = Duration::from_millis(50);
const RELEASE_WITHIN_DEFAULT: Duration = Duration::from_secs(5);

/// How to start a guard.
#[derive(Clone, Debug)]
pub struct GuardOptions {
    /// The program whose `main` comes to [`crate::guard_main`].
    pub program: PathBuf,
    /// The arguments that bring it there.
    pub leading_args: Vec<OsString>,
    /// The program that is run with the argument `release` and a [`crate::ReleaseNote`] on its
    /// standard input when no sidecar is left to release an epoch.
    pub release_program: PathBuf,
    /// Where `guard.pid` and `guard.sock` are put.
    pub run_dir: PathBuf,
    /// The data directory of the PostgreSQL that will be started.
    pub data_dir: PathBuf,
    /// The lock beside it.
    pub lock_path: PathBuf,
    /// How long the guard waits for [`Order::Ack`] before it runs the release program.
    pub ack_wait: Duration,
    /// How long the release program may take.
    pub release_within: Duration,
}

/// The guard could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// No shared memory.
    #[error(transparent)]
    Board(#[from] BoardError),
    /// No process.
    #[error("the guard {} cannot be started: {error}", .program.display())]
    Process {
        /// The program.
        program: PathBuf,
        /// The operating system's error.
        error: io::Error,
    },
}

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

struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The guard has been reaped: its number may be another's.
    reaped: bool,
    /// Since when the guard runs a tree under a deadline.
    deadline_since: Option<Mono>,
    doubt: Doubt,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GuardOptions {
    /// This program as `guard`, its release as `release`, the lock beside the data directory.
    pub fn new(run_dir: &Path, data_dir: &Path) -> io::Result<Self> {
        let program = std::env::current_exe()?;
        Ok(Self {
            release_program: program.clone(),
            program,
            leading_args: vec!["guard".into()],
            run_dir: run_dir.to_owned(),
            data_dir: data_dir.to_owned(),
            lock_path: lock_path_beside(data_dir),
            ack_wait: ACK_WAIT_DEFAULT,
            release_within: RELEASE_WITHIN_DEFAULT,
        })
    }

    /// The leftovers of a guard that was started with these options.
    pub fn scope(&self) -> Scope {
        Scope::of(&self.data_dir).locked_by(&self.lock_path)
    }

    fn command(&self, control: RawFd, board: RawFd) -> io::Result<Command> {
        let mut command = Command::new(&self.program);
        command.args(&self.leading_args);
        command.arg("--control-fd").arg(control.to_string());
        command.arg("--board-fd").arg(board.to_string());
        // The guard works from the root directory.
        command.arg("--run-dir").arg(absolute(&self.run_dir)?);
        command.arg("--lock").arg(absolute(&self.lock_path)?);
        command.arg("--release-program").arg(&self.release_program);
        let millis = |time: Duration| time.as_millis().to_string();
        command.arg("--ack-wait-ms").arg(millis(self.ack_wait));
        command
            .arg("--release-within-ms")
            .arg(millis(self.release_within));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(command)
    }
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

#[allow(unsafe_code)]
fn start(options: &GuardOptions, control: UnixStream, board: &LeaseBoard) -> io::Result<Child> {
    let control = OwnedFd::from(control);
    let board = board.fd().try_clone_to_owned()?;
    let mut command = options.command(control.as_raw_fd(), board.as_raw_fd())?;
    let prepare = move || {
        setsid()?;
        // Only this child shall have them, not whatever else this process starts meanwhile.
        fcntl(&control, FcntlArg::F_SETFD(FdFlag::empty()))?;
        fcntl(&board, FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(())
    };
    // SAFETY: `prepare` makes three system calls, all of them async-signal-safe, and allocates
    // nothing, as it must between fork and exec of a process with threads.
    unsafe { command.pre_exec(prepare) }.spawn()
}

/// Reads what the guard says until it is gone.
struct Listener {
    control: UnixStream,
    child: Child,
    shared: Arc<Shared>,
}

impl Listener {
    fn run(mut self, on_event: &dyn Fn(Event)) {
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
