//! Measures the figures of the design, and shows a failover of the demo.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use pgha_chaos::bench::{self, FailoverDemo, Plan, RowName};

/// Measures pgha, and shows what it does.
#[derive(Parser)]
#[command(name = "pgha-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure the table of figures; exit code 1 where one is missed.
    Run(RunArgs),
    /// Kill the primary of a running demo under an insert load.
    Failover(FailoverArgs),
}

#[derive(Args)]
struct RunArgs {
    /// Repetitions of each fault.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Only these rows.
    #[arg(long, value_delimiter = ',')]
    only: Vec<RowName>,
    /// `lease_ms` of the clusters.
    #[arg(long)]
    lease_ms: Option<u64>,
    /// Where results are kept.
    #[arg(long, default_value = "bench/results")]
    results: PathBuf,
}

#[derive(Args)]
struct FailoverArgs {
    /// `pgha-ctl`.
    #[arg(long)]
    ctl: PathBuf,
    /// gRPC addresses of the members.
    #[arg(long, value_delimiter = ',')]
    endpoints: Vec<String>,
    /// Read-write ports, NAME=IP:PORT.
    #[arg(long, value_delimiter = ',', value_parser = named_address)]
    ports: Vec<(String, SocketAddr)>,
    /// File with the superuser's password.
    #[arg(long)]
    password_file: PathBuf,
    /// Directory of the members' data directories.
    #[arg(long)]
    directory: PathBuf,
}

fn named_address(text: &str) -> Result<(String, SocketAddr), String> {
    let expected = || format!("`{text}` is not NAME=IP:PORT");
    let (name, address) = text.split_once('=').ok_or_else(expected)?;
    Ok((name.to_owned(), address.parse().map_err(|_| expected())?))
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Run(args) => run(args).await,
        Command::Failover(args) => failover(args).await,
    }
}

async fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let rows = if args.only.is_empty() {
        RowName::value_variants().to_vec()
    } else {
        args.only
    };
    let plan = Plan {
        rounds: args.rounds,
        rows,
        lease_ms: args.lease_ms,
        results: args.results,
    };
    let report = bench::run(&plan).await?;
    Ok(if report.all_met() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn failover(args: FailoverArgs) -> anyhow::Result<ExitCode> {
    let demo = FailoverDemo {
        ctl: args.ctl,
        endpoints: args.endpoints,
        ports: args.ports,
        password: std::fs::read_to_string(args.password_file)?
            .trim()
            .to_owned(),
        directory: args.directory,
    };
    bench::show_failover(&demo).await?;
    Ok(ExitCode::SUCCESS)
}
