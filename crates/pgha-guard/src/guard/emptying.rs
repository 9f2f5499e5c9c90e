//! Emptying the tree, and the proof that it is empty.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use pgha_core::Mono;

use super::releasing::Releasing;
use super::state::{Guard, Phase, Role};
use crate::message::{EmptyCause, EmptyReport, Event, PostmasterStatus, StuckProcess};
use crate::release::ReleaseNote;
use crate::{clock, process};

/// Looked at again after this long, doubling, beside every SIGCHLD: a process whose parent dies
/// becomes a child of the guard without any signal.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// SIGKILL takes milliseconds; whoever lives longer is reported.
const COMPLAIN_AFTER: Duration = Duration::from_millis(400);
const COMPLAIN_EVERY: Duration = Duration::from_secs(5);

/// A tree being emptied.
pub(super) struct Emptying {
    cause: EmptyCause,
    seen_at: Mono,
    /// When SIGKILL was sent to a process for the first time, last.
    fenced_at: Mono,
    /// Killed and not yet reaped.
    killed: BTreeSet<u32>,
    pause: Duration,
    look_at: Mono,
    complain_at: Mono,
}

impl Emptying {
    pub(super) fn next_look(&self) -> Mono {
        self.look_at.min(self.complain_at)
    }

    /// Sends SIGKILL to every process of the tree that has not got it yet.
    ///
    /// Each is killed before its children are listed: fork(2) fails in a process with SIGKILL
    /// pending, so the list is final; and a parent that runs no more reaps no more, so the numbers
    /// on it cannot have passed to others. Orphans come to the guard and are met in the next round.
    fn kill_round(&mut self, postmaster: Option<u32>, spared: Option<u32>) {
        let mut met: Vec<u32> = postmaster.into_iter().collect();
        let mut met_anybody = self.kill_down(&mut met);
        met = process::children(std::process::id()).unwrap_or_default();
        met.retain(|pid| Some(*pid) != spared);
        met_anybody |= self.kill_down(&mut met);
        let now = clock::now();
        if met_anybody {
            self.fenced_at = now;
            self.pause = PAUSE_MIN;
        }
        self.look_at = now + self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    /// Kills all of them again: a number may have passed to a process that was never killed.
    fn kill_anew(&mut self, postmaster: Option<u32>, spared: Option<u32>) {
        let fenced_at = self.fenced_at;
        let before = std::mem::take(&mut self.killed);
        self.kill_round(postmaster, spared);
        if self.killed.is_subset(&before) {
            self.fenced_at = fenced_at;
        }
    }

    fn kill_down(&mut self, met: &mut Vec<u32>) -> bool {
        let mut met_anybody = false;
        while let Some(pid) = met.pop() {
            if self.killed.insert(pid) {
                met_anybody = true;
                let _ = kill(process::raw(pid), Signal::SIGKILL);
                met.extend(process::children(pid).unwrap_or_default());
            }
        }
        met_anybody
    }

    fn report(&self, role: &Role, now: Mono) -> EmptyReport {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let secret = match role {
            Role::Primary(primary) => Some(primary.secret.clone()),
            Role::Standby(_) => None,
        };
        EmptyReport {
            epoch: role.epoch(),
            secret,
            cause: self.cause,
            seen_at: self.seen_at,
            seen_to_fenced_us: micros(self.fenced_at.since(self.seen_at)),
            seen_to_empty_us: micros(now.since(self.seen_at)),
        }
    }
}

impl Guard {
    /// Starts to kill, and has killed whomever there was on return.
    pub(super) fn begin_emptying(&mut self, cause: EmptyCause, seen_at: Mono) {
        let mut emptying = Emptying {
            cause,
            seen_at,
            fenced_at: clock::now(),
            killed: BTreeSet::new(),
            pause: PAUSE_MIN,
            look_at: seen_at,
            complain_at: seen_at + COMPLAIN_AFTER,
        };
        self.retiring = None;
        let spared = self.releasing.as_ref().map(Releasing::pid);
        emptying.kill_round(self.postmaster, spared);
        self.phase = Phase::Emptying(emptying);
    }

    /// Reaps every child that has ended, and learns whether any is left.
    pub(super) fn notice_ends(&mut self) {
        loop {
            match reap() {
                Reaped::Ended(pid, status) => self.notice_end(pid, status),
                Reaped::AllAlive => {
                    self.childless = false;
                    return;
                }
                Reaped::Childless => {
                    self.childless = true;
                    return;
                }
            }
        }
    }

    fn notice_end(&mut self, pid: u32, status: PostmasterStatus) {
        let at = clock::now();
        if let Phase::Emptying(emptying) = &mut self.phase {
            // From here on the number may be somebody else's.
            emptying.killed.remove(&pid);
        }
        if self.postmaster == Some(pid) {
            self.postmaster = None;
            self.say(&Event::PostmasterExited { pid, status, at });
            if self.is_running() {
                self.begin_emptying(EmptyCause::PostmasterExited, at);
            }
        } else {
            self.notice_release_end(pid, status);
        }
    }

    pub(super) fn advance_emptying(&mut self) {
        let empty = self.is_tree_empty();
        let spared = self.releasing.as_ref().map(Releasing::pid);
        let postmaster = self.postmaster;
        let Phase::Emptying(emptying) = &mut self.phase else {
            return;
        };
        let now = clock::now();
        if empty {
            let report = emptying.report(&self.role, now);
            self.finish_emptying(report);
            return;
        }
        emptying.kill_round(postmaster, spared);
        if now >= emptying.complain_at {
            emptying.complain_at = now + COMPLAIN_EVERY;
            let event = Event::Stuck {
                since_us: emptying.report(&self.role, now).seen_to_empty_us,
                processes: emptying
                    .killed
                    .iter()
                    .filter_map(|pid| stuck(*pid))
                    .collect(),
            };
            emptying.kill_anew(postmaster, spared);
            self.say(&event);
        }
    }

    /// Whether the guard has no descendant left but the release program of an earlier epoch.
    ///
    /// A process whose parent lives is that one's descendant, any other is the guard's child: with
    /// no child there is nobody. Where the release program is one, the list of children decides: it
    /// only grows at its end while it is read, as nobody but this thread takes a child off it.
    fn is_tree_empty(&self) -> bool {
        let Some(releasing) = &self.releasing else {
            return self.childless;
        };
        let children = process::children(std::process::id());
        children.is_ok_and(|children| children.iter().all(|pid| *pid == releasing.pid()))
    }

    fn finish_emptying(&mut self, report: EmptyReport) {
        self.lock = None;
        self.phase = Phase::Idle;
        self.say(&Event::Empty(report.clone()));
        if let (Role::Primary(primary), Some(secret)) = (&self.role, &report.secret) {
            self.ended = primary.epoch;
            let secret = secret.clone();
            let note = ReleaseNote::new(&primary.route, primary.epoch, secret, &report);
            let until = (clock::now() + self.options.ack_wait).max(primary.kill_at);
            self.phase = Phase::AwaitingAck { note, until };
        }
        self.role = Role::Standby(report.epoch);
        if self.control.is_none() {
            self.release_unacknowledged();
        }
    }
}

fn stuck(pid: u32) -> Option<StuckProcess> {
    let stat = process::stat(pid).filter(|stat| !stat.is_dead())?;
    Some(StuckProcess {
        pid,
        name: stat.name,
        state: stat.state,
    })
}

enum Reaped {
    AllAlive,
    Childless,
    Ended(u32, PostmasterStatus),
}

/// waitpid(2) itself: nix's turns an end by a real-time signal into an error and forgets who it was.
#[allow(unsafe_code)]
fn reap() -> Reaped {
    loop {
        let mut status = 0;
        // SAFETY: `status` is ours, and written to only during the call.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        match (u32::try_from(pid), Errno::last()) {
            (Ok(0), _) => return Reaped::AllAlive,
            (Ok(pid), _) if libc::WIFEXITED(status) => {
                return Reaped::Ended(pid, PostmasterStatus::Exited(libc::WEXITSTATUS(status)));
            }
            (Ok(pid), _) => {
                return Reaped::Ended(pid, PostmasterStatus::Killed(libc::WTERMSIG(status)));
            }
            (Err(_), Errno::ECHILD) => return Reaped::Childless,
            // EINTR; WNOHANG and no other options leave no other error.
            (Err(_), _) => {}
        }
    }
}
