//! The door, from the inside: where the next sidecar knocks.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::unistd::geteuid;

use super::channel::Channel;
use super::state::Guard;
use crate::door::{self, Retire};

/// One sidecar knocks at a time; more are a mistake that must not use up our descriptors.
const CALLERS_MAX: usize = 4;

pub(super) struct Door {
    listener: UnixListener,
    /// Kept open until the guard leaves: that is what a caller waits for.
    callers: Vec<Channel>,
}

impl Door {
    /// Writes `guard.pid` and listens at `guard.sock`. Whoever holds the guard's lock may replace
    /// what a dead guard left.
    pub(super) fn open(run_dir: &Path) -> io::Result<Self> {
        let path = door::path(run_dir);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        write_pid(run_dir)?;
        Ok(Self {
            listener,
            callers: Vec::new(),
        })
    }

    /// Takes the files away, unless they are another guard's by now.
    pub(super) fn close(self, run_dir: &Path) {
        let pid_path = door::pid_path(run_dir);
        let pid = fs::read_to_string(&pid_path).unwrap_or_default();
        if pid.trim() == std::process::id().to_string() {
            // Left behind they would do no harm: the next guard replaces them.
            let _ = fs::remove_file(door::path(run_dir));
            let _ = fs::remove_file(pid_path);
        }
    }

    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let callers = self.callers.iter().map(AsFd::as_fd);
        std::iter::once(self.listener.as_fd()).chain(callers)
    }

    fn let_in(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if self.callers.len() < CALLERS_MAX && may_call(&stream) {
                self.callers.extend(Channel::new(stream));
            }
        }
    }

    fn hear(&mut self) -> Option<Retire> {
        let mut heard = None;
        for caller in &mut self.callers {
            caller.fill();
            heard = caller.next().or(heard);
        }
        self.callers.retain(|caller| !caller.is_closed());
        heard
    }
}

fn write_pid(run_dir: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o644);
    let mut file = options.open(door::pid_path(run_dir))?;
    writeln!(file, "{}", std::process::id())
}

/// Only the user who could kill the guard anyway, and root.
fn may_call(stream: &UnixStream) -> bool {
    let peer = getsockopt(stream, PeerCredentials);
    peer.is_ok_and(|peer| peer.uid() == geteuid().as_raw() || peer.uid() == 0)
}

impl Guard {
    pub(super) fn answer_door(&mut self) {
        let Some(door) = &mut self.door else {
            return;
        };
        door.let_in();
        if let Some(order) = door.hear()
            && self.retiring.is_none()
        {
            self.retire(order);
        }
    }
}
