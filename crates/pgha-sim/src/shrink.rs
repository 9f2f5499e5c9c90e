//! Makes a failing run smaller: as few of its faults as still break the same rule.

use std::collections::BTreeSet;
use std::fmt;

use crate::check::Failure;
use crate::fault::Fault;
use crate::mutant::Mutant;
use crate::run::{run, run_with};
use crate::time::{MS, Nanos};
use crate::world::Options;

/// More runs than this are not made for one seed.
const RUNS_MAX: u32 = 400;

/// A failing seed with the faults that it takes.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The seed.
    pub seed: u64,
    /// Their numbers in the plan, what they are, and when they strike.
    pub faults: Vec<(usize, Fault, Nanos)>,
    /// How many the plan has.
    pub planned: usize,
    /// What goes wrong with them, and after how many seconds.
    pub failure: (Failure, f64),
    /// How many runs it took to find out.
    pub runs: u32,
    /// The rule that was broken on purpose.
    pub mutant: Option<Mutant>,
}

/// What it takes, and how to run it again.
impl fmt::Display for Shrunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kept, seed) = (self.faults.len(), self.seed);
        writeln!(
            f,
            "seed {seed} fails with {kept} of its {} faults ({} runs): {}",
            self.planned, self.runs, self.failure.0
        )?;
        for (number, fault, at) in &self.faults {
            writeln!(f, "  fault {number} at {} ms: {fault:?}", at / MS)?;
        }
        write!(
            f,
            "  again: cargo run --release -p pgha-sim -- --seed {seed}"
        )?;
        let numbers: Vec<String> = self.faults.iter().map(|f| f.0.to_string()).collect();
        if !numbers.is_empty() {
            write!(f, " --only {}", numbers.join(","))?;
        }
        self.mutant
            .map_or(Ok(()), |mutant| write!(f, " --mutant {mutant:?}"))
    }
}

/// Takes faults away while the run still fails in the same way. `None` where the seed passes.
pub fn shrink(seed: u64, mutant: Option<Mutant>) -> Option<Shrunk> {
    let whole = run(seed, mutant, false);
    let mut failure = whole.failure?;
    let rule = failure.0.rule();
    let mut kept: Vec<usize> = (0..whole.plan.len()).collect();
    let mut runs = 1;
    let mut attempt = |left: &[usize]| {
        let options = Options {
            mutant,
            tracing: false,
            only: Some(left.iter().copied().collect::<BTreeSet<_>>()),
            kinds: None,
        };
        runs += 1;
        let outcome = run_with(seed, &options).failure;
        let outcome = outcome.filter(|(found, _)| found.rule() == rule);
        (outcome, runs < RUNS_MAX)
    };
    // Zeller and Hildebrandt 2002, "Simplifying and isolating failure-inducing input".
    let mut chunk = kept.len().max(1);
    'smaller: loop {
        let mut at = 0;
        while at < kept.len() {
            let end = (at + chunk).min(kept.len());
            let left: Vec<usize> = kept[..at].iter().chain(&kept[end..]).copied().collect();
            let (outcome, more) = attempt(&left);
            match outcome {
                Some(found) => {
                    failure = found;
                    kept = left;
                }
                None => at = end,
            }
            if !more {
                break 'smaller;
            }
        }
        if chunk == 1 {
            break;
        }
        chunk = chunk.div_ceil(2).max(1);
    }
    let faults = kept
        .iter()
        .map(|number| (*number, whole.plan[*number].fault, whole.plan[*number].at))
        .collect();
    Some(Shrunk {
        seed,
        faults,
        planned: whole.plan.len(),
        failure,
        runs,
        mutant,
    })
}
