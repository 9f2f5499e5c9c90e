//! The power goes: what was told is durable is there afterwards. A killed process never shows a
//! missing sync, as the kernel keeps what it wrote; so a process is traced, and from the trace the
//! directory is built as a disk would hold it that kept only what had been synced.

mod child;
mod disk;
mod trace;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use rand::Rng;
use rand::rngs::StdRng;

use super::damage::seeded;
use crate::store::{Store, StoreError};
use disk::{ModelDisk, Unsynced};
use trace::{Call, Step};

/// The member's directory, in which the store makes its own; neither is there at first.
const MEMBER: &str = "member";
const STORE: &str = "raft";

/// What the process said of the store up to some step.
#[derive(Default)]
struct Said {
    /// The states that were asked for, in order; from 1.
    states: Vec<String>,
    acked: usize,
}

impl Said {
    fn hear(&mut self, step: &Step) {
        let Step::Begins(_, Call::Write { bytes, .. }) = step else {
            return;
        };
        let text = String::from_utf8_lossy(bytes);
        if let Some(state) = text.strip_prefix("\nstate ") {
            let (number, state) = state.trim_end().split_once(' ').unwrap();
            assert_eq!(number, (self.states.len() + 1).to_string());
            self.states.push(state.to_owned());
        } else if let Some(number) = text.strip_prefix("\nacked ") {
            self.acked = number.trim_end().parse().unwrap();
        }
    }
}

/// Why it cannot be tested here, if so.
fn missing() -> Option<String> {
    let probe = [
        "-f",
        "-y",
        "-xx",
        "-o",
        "/dev/null",
        "-e",
        "trace=fsync",
        "true",
    ];
    match Command::new("strace").args(probe).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Some(format!("strace: {error}")),
    }
}

fn run_traced(dir: &Path, trace: &Path, entry_bytes: usize) -> Vec<Step> {
    let name = module_path!().split_once("::").unwrap().1;
    let output = Command::new("strace")
        .args(["-f", "-y", "-xx", "-s", "10000000", "-e"])
        .arg(format!("trace={}", trace::TRACED))
        .arg("-o")
        .arg(trace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture"])
        .arg(format!("{name}::child::child"))
        .env(child::DIR, dir.join(MEMBER).join(STORE))
        .env(child::ENTRY_BYTES, entry_bytes.to_string())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let steps = trace::read(&std::fs::read_to_string(trace).unwrap());
    std::fs::remove_file(trace).unwrap();
    steps
}

/// Opens what the disk held. True if it is whole, false if it was moved aside.
fn check(dir: &Path, said: &Said, all: &[String], what: &str) -> bool {
    match Store::open(&dir.join(MEMBER).join(STORE)) {
        Ok(store) => {
            let found = child::digest(&store);
            // What was asked for last may be there, and one that was not said yet.
            let upto = (said.states.len() + 1).min(all.len());
            let possible = &all[said.acked.saturating_sub(1)..upto];
            assert!(
                said.acked == 0 || possible.contains(&found),
                "{what}: found\n  {found}\nwhere {} was acknowledged and possible is\n  {}",
                said.acked,
                possible.join("\n  ")
            );
            true
        }
        Err(StoreError::Quarantined { found, .. }) => {
            println!("{what}: moved aside, {found}");
            false
        }
        Err(other) => panic!("{what}: {other}"),
    }
}

/// What became of the stores.
#[derive(Default, Debug)]
struct Tally {
    /// Cuts after which all that was not synced was lost.
    lost: usize,
    /// Cuts after which some of it was there.
    torn: usize,
    /// Of these, the stores that were moved aside.
    aside: usize,
}

/// Cuts the power after each answer, then `torn` times at random moments, where the disk also has some
/// of what was not synced. Leaves the last in `next`.
fn cut_everywhere(
    dir: &Path,
    next: &Path,
    (entry_bytes, torn): (usize, usize),
    random: &mut StdRng,
    tally: &mut Tally,
) {
    let mut disk = ModelDisk::new(dir);
    let steps = run_traced(dir, &dir.with_extension("trace"), entry_bytes);
    let mut all = Said::default();
    steps.iter().for_each(|step| all.hear(step));
    assert!(all.acked > 60, "the child hardly ran: {}", all.acked);

    let torn_at: Vec<usize> = (0..torn)
        .map(|_| random.random_range(0..steps.len()))
        .collect();
    let left = dir.with_extension("cut");
    let mut said = Said::default();
    for (at, step) in steps.iter().enumerate() {
        let acked = said.acked;
        said.hear(step);
        disk.take(step);
        let moment = format!("step {at} of {}, entries of {entry_bytes}", steps.len());
        // Between two answers, what is synced decides; before an answer it is too little or enough.
        if said.acked > acked {
            disk.write_out(&left, &mut Unsynced::Lost);
            assert!(check(&left, &said, &all.states, &moment), "moved aside");
            tally.lost += 1;
            std::fs::remove_dir_all(&left).unwrap();
        }
        for _ in torn_at.iter().filter(|torn| **torn == at) {
            disk.write_out(&left, &mut Unsynced::Some(random));
            tally.aside += usize::from(!check(&left, &said, &all.states, &moment));
            tally.torn += 1;
            std::fs::remove_dir_all(&left).unwrap();
        }
    }
    disk.write_out(next, &mut Unsynced::Some(random));
    let large = dir.join(MEMBER).join(STORE).join("store/log/blobs");
    let large: Vec<_> = std::fs::read_dir(large).unwrap().collect();
    assert!(large.is_empty(), "sled never syncs these: {large:?}");
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_goes() {
    if let Some(reason) = missing() {
        // What is printed by a test that passes is not shown.
        let mut terminal = std::io::stderr();
        let _closed = writeln!(
            terminal,
            "SKIPPED the loss of power: strace does not run: {reason}"
        );
        return;
    }
    let torn = std::env::var("PGHA_TEST_POWER_TORN").map_or(40, |text| text.parse().unwrap());
    let mut random = seeded();
    let dir = tempfile::tempdir().unwrap();
    let mut tally = Tally::default();
    for (round, entry_bytes) in [0, 0, 40_000].into_iter().enumerate() {
        let here = dir.path().join(format!("round-{round}"));
        let next = dir.path().join(format!("round-{}", round + 1));
        std::fs::create_dir_all(&here).unwrap();
        cut_everywhere(&here, &next, (entry_bytes, torn), &mut random, &mut tally);
        println!("{tally:?}");
    }
    // A write torn across two of sled's segments may pass for damage. Nobody was told of it, so that
    // the member loses nothing but its place; it has to be rare all the same.
    assert!(tally.aside * 50 <= tally.torn, "{tally:?}");
}
