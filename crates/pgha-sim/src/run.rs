//! Runs of many seeds.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::check::Failure;
use crate::coverage::{CHANGES_MIN, EVENTFUL};
use crate::mutant::Mutant;
use crate::plan::Planned;
use crate::world::{Options, Shape, World};

/// What one seed came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What went wrong, and when in seconds.
    pub failure: Option<(Failure, f64)>,
    /// How often what happened.
    pub counts: BTreeMap<String, u64>,
    /// What was planned to break.
    pub plan: Vec<Planned>,
}

/// All of many seeds.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many ran.
    pub runs: u64,
    /// How often what happened.
    pub counts: BTreeMap<String, u64>,
    /// In how many runs it happened.
    pub runs_with: BTreeMap<String, u64>,
    /// The ones that failed, lowest seed first.
    pub failures: BTreeMap<u64, (Failure, f64)>,
}

/// The shape that a seed stands for: three members mostly, five, two with a witness, and one.
pub fn shape_of(seed: u64) -> Shape {
    let (data, witnesses) = match seed % 10 {
        6 => (5, 0),
        7 | 8 => (2, 1),
        9 => (1, 0),
        _ => (3, 0),
    };
    Shape { data, witnesses }
}

/// Runs one seed.
pub fn run(seed: u64, mutant: Option<Mutant>, tracing: bool) -> Outcome {
    let options = Options {
        mutant,
        tracing,
        ..Options::default()
    };
    run_with(seed, &options)
}

/// Runs one seed as `options` say.
pub fn run_with(seed: u64, options: &Options) -> Outcome {
    let mut world = World::new(seed, shape_of(seed), options);
    while world.step() {}
    if world.failure.is_none() {
        world.check_losses();
    }
    if world.changes_of_primary() >= CHANGES_MIN {
        world.count(EVENTFUL);
    }
    #[allow(clippy::cast_precision_loss)]
    let seconds = world.now as f64 / 1e9;
    Outcome {
        seed,
        failure: world.failure.map(|failure| (failure, seconds)),
        counts: world.counts,
        plan: world.plan,
    }
}

/// Runs `count` seeds on `threads` threads; ends early after `failures_max` failures.
pub fn run_many(
    from: u64,
    count: u64,
    threads: usize,
    mutant: Option<Mutant>,
    failures_max: usize,
) -> Summary {
    let next = AtomicU64::new(from);
    let enough = AtomicBool::new(false);
    let summary = Mutex::new(Summary::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count {
                        return;
                    }
                    let outcome = run(seed, mutant, false);
                    let mut summary = summary
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner);
                    summary.add(outcome);
                    if summary.failures.len() >= failures_max {
                        enough.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    summary
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Summary {
    fn add(&mut self, outcome: Outcome) {
        self.runs += 1;
        for (what, count) in outcome.counts {
            *self.runs_with.entry(what.clone()).or_default() += 1;
            *self.counts.entry(what).or_default() += count;
        }
        if let Some(failure) = outcome.failure {
            self.failures.insert(outcome.seed, failure);
        }
    }
}
