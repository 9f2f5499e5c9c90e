//! Watches by `/proc` when the last process of a PostgreSQL ends, and whether anybody was told that it
//! had ended, or took its place, before that.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Context;

use crate::process::Process;

const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A watch over the processes that were there when it began.
pub struct TreeWatch {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Seen>,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// The first look that found none of them.
    pub empty_at: Option<SystemTime>,
    /// The first look that found a sign of the release or of the next primary.
    pub released_at: Option<SystemTime>,
    /// Processes of the tree that lived after a look that had found such a sign.
    pub alive_after_release: Vec<Process>,
}

/// What tells the world that a tree is empty, or that another took its place.
#[derive(Debug, Clone)]
pub struct Signs {
    /// The guard of the tree: without a sidecar it has a child that sends the release.
    pub guard: i32,
    /// Logs of others, in which the receipt of a release would be, with their lengths before.
    pub logs: Vec<(PathBuf, u64)>,
    /// The files that a promotion on another member writes.
    pub promotions: Vec<PathBuf>,
}

impl TreeWatch {
    /// Begins to watch.
    pub fn begin(tree: Vec<Process>, signs: Signs) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = Seen::default();
            while !stopped.load(Ordering::Relaxed) {
                look(&tree, &signs, &mut seen);
                std::thread::sleep(LOOK_EVERY);
            }
            seen
        });
        Self { stop, thread }
    }

    /// Ends the watch.
    pub fn end(self) -> anyhow::Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the watch panicked")
    }
}

/// The signs first, the tree second: what is found alive then lived after the release for sure, however
/// late the watch itself is.
fn look(tree: &[Process], signs: &Signs, seen: &mut Seen) {
    if seen.released_at.is_none() && signs.are_there() {
        seen.released_at = Some(SystemTime::now());
    }
    if seen.empty_at.is_some() {
        return;
    }
    let alive: Vec<Process> = tree
        .iter()
        .filter(|process| process.is_running())
        .cloned()
        .collect();
    if alive.is_empty() {
        seen.empty_at = Some(SystemTime::now());
    } else if seen.released_at.is_some() {
        seen.alive_after_release = alive;
    }
}

impl Signs {
    fn are_there(&self) -> bool {
        sends_release(self.guard)
            || self.promotions.iter().any(|file| file.exists())
            || self.logs.iter().any(|(log, before)| heard(log, *before))
    }
}

fn heard(log: &std::path::Path, before: u64) -> bool {
    let text = std::fs::read(log).unwrap_or_default();
    let news = usize::try_from(before).map_or(&[][..], |from| text.get(from..).unwrap_or_default());
    String::from_utf8_lossy(news).contains("an epoch was released")
}

fn sends_release(guard: i32) -> bool {
    let children = std::fs::read_to_string(format!("/proc/{guard}/task/{guard}/children"));
    children
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|pid| Process::of(pid.parse().ok()?))
        .any(|child| {
            child
                .command
                .split_whitespace()
                .any(|word| word == "release")
        })
}
