//! `pgha-sim`: one seed with its trace, or many with a table.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use pgha_sim::run::{Summary, run, run_many};

/// Simulates pgha clusters under faults; a seed determines everything.
#[derive(Parser, Debug)]
#[command(version)]
struct Arguments {
    /// Run this seed and print what happens.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
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
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(seed) = arguments.seed {
        return match run(seed, None, true).failure {
            None => {
                println!("seed {seed}: passed");
                ExitCode::SUCCESS
            }
            Some((failure, seconds)) => {
                println!("seed {seed}: failed after {seconds:.3} s: {failure}");
                ExitCode::FAILURE
            }
        };
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
        None,
        arguments.failures.max(1),
    );
    print(&summary, begun.elapsed().as_secs_f64());
    if summary.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn print(summary: &Summary, seconds: f64) {
    println!("{:<44} {:>12} {:>9}", "what", "times", "in runs");
    for (what, count) in &summary.counts {
        println!("{what:<44} {count:>12} {:>9}", summary.runs_with[what]);
    }
    #[allow(clippy::cast_precision_loss)]
    let rate = summary.runs as f64 / seconds;
    println!("\n{} runs in {seconds:.1} s, {rate:.1}/s", summary.runs);
    for (seed, (failure, at)) in &summary.failures {
        println!("seed {seed} failed after {at:.3} s: {failure}");
    }
}
