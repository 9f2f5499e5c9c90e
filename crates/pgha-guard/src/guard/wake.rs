//! What the guard waits on: its timer, its signals, and whatever descriptors it is given.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use pgha_core::Mono;

/// Signals that end a process elsewhere. To a guard they are a wish at most.
const STOPPING: [Signal; 4] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
];

pub(super) struct Wake {
    timer: TimerFd,
    signals: SignalFd,
}

impl Wake {
    /// Takes the signals over from their default actions, for this thread, the only one.
    pub(super) fn new() -> io::Result<Self> {
        let mut mask = SigSet::empty();
        STOPPING.into_iter().for_each(|signal| mask.add(signal));
        mask.add(Signal::SIGCHLD);
        mask.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let timer_flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        Ok(Self {
            signals: SignalFd::with_flags(&mask, flags)?,
            timer: TimerFd::new(ClockId::CLOCK_BOOTTIME, timer_flags)?,
        })
    }

    /// Drains the signals; true where one of them asked this process to stop.
    pub(super) fn stop_was_asked(&self) -> bool {
        let mut asked = false;
        while let Ok(Some(signal)) = self.signals.read_signal() {
            let number = i32::try_from(signal.ssi_signo).unwrap_or_default();
            asked |= STOPPING.iter().any(|stopping| *stopping as i32 == number);
        }
        asked
    }

    /// Waits until `at`, a signal, or news on one of `others`; those marked true are waited on to
    /// become writable too.
    ///
    /// A guard that cannot wait cannot guard: it ends on the spot, the postmaster with it, and the
    /// sidecar empties the tree.
    pub(super) fn wait(&self, at: Mono, others: &[(BorrowedFd<'_>, bool)]) {
        if self.arm(at).is_err() {
            std::process::abort();
        }
        let mut fds = vec![
            PollFd::new(self.timer.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        for (fd, writes) in others {
            let writes = if *writes {
                PollFlags::POLLOUT
            } else {
                PollFlags::empty()
            };
            fds.push(PollFd::new(*fd, PollFlags::POLLIN | writes));
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => std::process::abort(),
        }
    }

    /// Setting the timer also clears what an earlier expiry left to be read.
    fn arm(&self, at: Mono) -> nix::Result<()> {
        // Zero would disarm the timer.
        let nanos = at.as_nanos().clamp(1, i64::MAX as u64);
        let seconds = i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX);
        let rest = i64::try_from(nanos % 1_000_000_000).unwrap_or_default();
        let expiration = Expiration::OneShot(TimeSpec::new(seconds, rest));
        self.timer
            .set(expiration, TimerSetTimeFlags::TFD_TIMER_ABSTIME)
    }
}
