//! Many seeds, what they have to have met, and rules broken on purpose.

use std::num::NonZeroUsize;

use pgha_sim::check::Failure;
use pgha_sim::mutant::Mutant;
use pgha_sim::run::{Summary, run, run_many};

/// Less than a minute on two cores: of ten seeds six have three members, one five, two a witness and
/// one is alone.
const SEEDS: u64 = 1500;
/// A broken rule has to be seen within so many seeds.
const MUTANT_SEEDS_MAX: u64 = 400;

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

fn failures(summary: &Summary) -> String {
    let line = |(seed, (failure, _)): (&u64, &(Failure, f64))| format!("seed {seed}: {failure}\n");
    summary.failures.iter().map(line).collect()
}

#[test]
fn every_promise_is_kept_and_every_cluster_recovers() {
    let summary = run_many(0, SEEDS, threads(), None, 5);
    assert!(summary.failures.is_empty(), "{}", failures(&summary));
    assert_eq!(summary.runs, SEEDS);
    // A run in which nothing happened proves nothing.
    for what in [
        "acknowledged write",
        "action Begin clone",
        "action Begin rewind",
        "action Stop Kill",
        "death within a decision",
        "fault ApplySlow",
        "fault DataWiped",
        "fault GuardDies",
        "fault NodeFreezes",
        "fault OneWayCut",
        "fault SidecarFreezes",
        "fork",
        "guard kills at its deadline",
        "late commit",
        "opening with loss",
        "primary by Promotion",
        "primary by Reinstatement",
        "primary by Restart",
        "promotion by hand",
        "proposal without quorum",
        "release by guard",
        "renewal refused catching_up",
        "renewal refused old_epoch",
        "renewal refused promised",
        "renewal refused start_wait",
        "revoke holder_restarted",
        "revoke lease_expired",
        "revoke released",
        "revoke switchover",
    ] {
        assert!(summary.counts.contains_key(what), "no run met: {what}");
    }
}

#[test]
fn a_seed_determines_everything() {
    for seed in [0, 6, 7, 9] {
        let (first, second) = (run(seed, None, false), run(seed, None, false));
        assert_eq!(first.counts, second.counts, "seed {seed}");
    }
}

#[test]
fn a_rule_broken_on_purpose_is_seen() {
    let mut unseen = Vec::new();
    for mutant in Mutant::ALL {
        let summary = run_many(0, MUTANT_SEEDS_MAX, threads(), Some(mutant), 1);
        println!(
            "{mutant:?} after {} runs: {}",
            summary.runs,
            failures(&summary)
        );
        if summary.failures.is_empty() {
            unseen.push(mutant);
        }
    }
    assert!(unseen.is_empty(), "not seen: {unseen:?}");
}
