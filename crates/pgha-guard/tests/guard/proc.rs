//! Who is alive, as `/proc` says: a second opinion beside the crate's own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgha_core::Mono;
use pgha_guard::clock;

/// Far beyond what anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a process id"));
    kill(pid, signal).expect("a living process of ours");
}

/// Waits for something to become true, and says what where it does not.
pub(crate) fn await_that(what: &str, holds: impl FnMut() -> bool) {
    assert!(eventually(holds), "in vain: {what}");
}

/// Whether it becomes true in time.
pub(crate) fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    let deadline = clock::now() + PATIENCE;
    while clock::now() < deadline {
        if holds() {
            return true;
        }
        thread::sleep(Duration::from_millis(2));
    }
    false
}

/// State and name of a process, dead ones that nobody reaped included.
pub(crate) fn state(pid: u32) -> Option<(char, String)> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (start, rest) = line.rsplit_once(')')?;
    let (_, name) = start.split_once('(')?;
    Some((rest.trim_start().chars().next()?, name.to_owned()))
}

pub(crate) fn is_alive(pid: u32) -> bool {
    state(pid).is_some_and(|(state, _)| state != 'Z' && state != 'X')
}

/// The living processes whose working directory is this one, with when each was looked at.
pub(crate) fn living_in(dir: &Path) -> BTreeMap<u32, Mono> {
    let mut living = BTreeMap::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let Some(pid) = pid else { continue };
        let looked_at = clock::now();
        if fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == dir) && is_alive(pid) {
            living.insert(pid, looked_at);
        }
    }
    living
}

/// Looks again and again until told to stop.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Mono>,
}

impl Watch {
    /// Has looked once, and seen somebody, on return.
    pub(crate) fn over(dir: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let look = move || living_in(&dir).into_values().max();
        let mut last_seen = look().expect("somebody to watch");
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                last_seen = look().unwrap_or(last_seen);
                thread::sleep(Duration::from_millis(1));
            }
            last_seen
        });
        Self { stop, thread }
    }

    /// When a living process was seen last.
    pub(crate) fn last_seen(self) -> Mono {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("looked")
    }
}

/// What a process has for itself, in kilobytes.
pub(crate) fn private_kb(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("alive");
    let of = |name: &str| -> u64 {
        let line = rollup
            .lines()
            .find(|line| line.starts_with(name))
            .expect("listed");
        line.split_ascii_whitespace()
            .nth(1)
            .and_then(|kb| kb.parse().ok())
            .expect("a number")
    };
    of("Private_Clean:") + of("Private_Dirty:")
}

/// Processor time used so far, in clock ticks (10 ms).
pub(crate) fn cpu_ticks(pid: u32) -> u64 {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).expect("alive");
    let rest = line.rsplit_once(')').expect("a name").1;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let of = |index: usize| fields[index].parse::<u64>().expect("a number");
    of(11) + of(12)
}
