//! Plays faults on a real cluster and judges what clients were told.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use pgha_chaos::campaign::{self, Plan};
use pgha_chaos::nemesis::{Kind, Schedule};
use tokio::signal::unix::{SignalKind, signal};

/// Breaks a cluster in every way there is, by a seed.
#[derive(Parser)]
#[command(name = "pgha-nemesis", version)]
struct Cli {
    /// What the schedules are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Rounds of each fault.
    #[arg(long, default_value_t = 3)]
    rounds: u64,
    /// Only these faults.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Kind>,
    /// Where results are kept.
    #[arg(long, default_value = "bench/results")]
    results: PathBuf,
    /// Print the schedules and strike nothing.
    #[arg(long)]
    print: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let plan = Plan {
        seed: cli.seed,
        rounds: cli.rounds,
        kinds: if cli.only.is_empty() {
            Plan::all_kinds()
        } else {
            cli.only
        },
        results: cli.results,
    };
    if cli.print {
        for kind in &plan.kinds {
            for round in 0..plan.rounds {
                let schedule = Schedule::draw(*kind, plan.seed, round);
                println!("{} {}: {schedule}", kind.name(), round + 1);
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let results = tokio::select! {
        results = campaign::run(&plan) => results?,
        // Dropping the campaign ends its members.
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
        _ = terminate.recv() => anyhow::bail!("terminated"),
    };
    println!("{}", results.table());
    println!("kept in {}", results.keep(&plan.results)?.display());
    Ok(if results.all_passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
