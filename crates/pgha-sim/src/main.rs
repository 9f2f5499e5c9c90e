//! `pgha-sim`: one seed with its trace, or many with a table.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use pgha_sim::coverage;
use pgha_sim::mutant::Mutant;
use pgha_sim::run::{Outcome, Summary, run_many, run_with};
use pgha_sim::shrink::shrink;
use pgha_sim::world::Options;

/// Simulates pgha clusters under faults; a seed determines everything.
#[derive(Parser, Debug)]
#[command(version)]
struct Arguments {
    /// Run this seed and print what happens.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Of that seed's faults let only these strike: their numbers, with commas.
    #[arg(long, requires = "seed", value_delimiter = ',')]
    only: Option<Vec<usize>>,
    /// Play this script, and print what happens and the text that it gives.
    #[arg(long, conflicts_with_all = ["seed", "seeds"])]
    script: Option<PathBuf>,
    /// Run so many seeds and print a table.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Threads; as many as there are cores unless given.
    #[arg(long)]
    threads: Option<usize>,
    /// Stop after so many failed seeds.
    #[arg(long, default_value_t = 10)]
    failures: usize,
    /// Break this rule on purpose.
    #[arg(long, value_parser = mutant)]
    mutant: Option<Mutant>,
}

fn mutant(name: &str) -> Result<Mutant, String> {
    let known = Mutant::ALL.map(|mutant| format!("{mutant:?}"));
    let found = Mutant::ALL
        .into_iter()
        .zip(&known)
        .find(|(_, n)| *n == name);
    found
        .map(|(mutant, _)| mutant)
        .ok_or_else(|| format!("there are {}", known.join(", ")))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(script) = arguments.script {
        return match play(&script) {
            Ok(text) => {
                println!("{text}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                println!("{}: {error}", script.display());
                ExitCode::FAILURE
            }
        };
    }
    if let Some(seed) = arguments.seed {
        let options = Options {
            mutant: arguments.mutant,
            tracing: true,
            only: arguments.only.map(|only| only.into_iter().collect()),
            kinds: None,
        };
        return one(seed, &options);
    }
    let threads = arguments
        .threads
        .or_else(|| std::thread::available_parallelism().ok().map(Into::into))
        .unwrap_or(1);
    let begun = Instant::now();
    let summary = run_many(
        arguments.from,
        arguments.seeds,
        threads,
        arguments.mutant,
        arguments.failures.max(1),
    );
    print(&summary, begun.elapsed().as_secs_f64());
    for seed in summary.failures.keys() {
        if let Some(shrunk) = shrink(*seed, arguments.mutant) {
            println!("\n{shrunk}");
        }
    }
    let enough = summary.runs < coverage::RUNS_MIN || arguments.mutant.is_some();
    let missing = if enough {
        Vec::new()
    } else {
        coverage::missing(&summary)
    };
    for what in &missing {
        println!("NEVER: {what}");
    }
    if summary.failures.is_empty() && missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn one(seed: u64, options: &Options) -> ExitCode {
    let outcome = run_with(seed, options);
    print_plan(&outcome, options.only.as_ref());
    match outcome.failure {
        None => {
            println!("seed {seed}: passed");
            ExitCode::SUCCESS
        }
        Some((failure, seconds)) => {
            println!("seed {seed}: failed after {seconds:.3} s: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn print_plan(outcome: &Outcome, only: Option<&BTreeSet<usize>>) {
    for (number, planned) in outcome.plan.iter().enumerate() {
        if only.is_none_or(|only| only.contains(&number)) {
            let at = seconds(planned.at);
            println!("fault {number} at {at:.3} s: {:?}", planned.fault);
        }
    }
}

#[allow(clippy::cast_precision_loss)]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

fn play(script: &Path) -> Result<String, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string(script)?;
    Ok(pgha_sim::script::play(&text, true)?)
}

fn print(summary: &Summary, seconds: f64) {
    print!("{}", coverage::table(summary));
    #[allow(clippy::cast_precision_loss)]
    let rate = summary.runs as f64 / seconds;
    println!("\n{} runs in {seconds:.1} s, {rate:.1}/s", summary.runs);
    for (seed, (failure, at)) in &summary.failures {
        println!("seed {seed} failed after {at:.3} s: {failure}");
    }
}
