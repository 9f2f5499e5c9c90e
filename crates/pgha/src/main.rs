//! The sidecar daemon: one process per node that owns the local PostgreSQL.

mod agent;
mod config;
mod daemon;
mod formation;
mod grpc;
mod http;
mod lag;
mod lease;
mod logging;
#[cfg(test)]
mod lone;
mod metrics;
mod net;
mod peers;
mod rejoin;
mod release;
mod restart;
mod rundir;
mod server;
mod services;
mod wake;
mod written;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use config::{Config, ConfigArgs, ConfigError, ReportFormat, Surroundings};

/// Exit code of a refused configuration, as of a wrong command line.
const EXIT_USAGE: u8 = 2;

/// Keeps one PostgreSQL cluster writable: one sidecar per node.
#[derive(Parser)]
#[command(name = "pgha", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the sidecar of this node.
    Run(ConfigArgs),
    /// Print the configuration in force and where each value comes from; refuse it if it is wrong.
    CheckConfig {
        #[command(flatten)]
        config: ConfigArgs,
        /// How to print it.
        #[arg(long, value_enum, default_value_t)]
        output: ReportFormat,
    },
    /// Send the release of an emptied tree; started by `pgha guard`.
    #[command(hide = true)]
    Release,
}

fn main() -> ExitCode {
    // The guard's memory is counted in pages: it must not touch what only the sidecar needs.
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == "guard") {
        return pgha_guard::guard_main(args);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misunderstood(&error),
    };
    match cli.command {
        Command::Run(args) => run(&args),
        Command::CheckConfig { config, output } => finish(check_config(&config, output)),
        Command::Release => release::main(),
    }
}

/// What was asked for is printed as it is; a mistake is one line, as every other refusal.
fn misunderstood(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if !error.use_stderr() || error.kind() == DisplayHelpOnMissingArgumentOrSubcommand {
        error.exit();
    }
    let text = error.to_string();
    let said: Vec<String> = text
        .trim_start_matches("error: ")
        .split("\n\n")
        .filter(|part| !part.starts_with("Usage:") && !part.starts_with("For more information"))
        .map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    eprintln!("pgha: {}; see `pgha run --help`", said.join("; "));
    ExitCode::from(EXIT_USAGE)
}

fn finish(result: Result<(), ConfigError>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    eprintln!("pgha: {error}");
    ExitCode::from(EXIT_USAGE)
}

fn load(args: &ConfigArgs) -> Result<Config, ConfigError> {
    Config::load(args, &Surroundings::of_this_process()?)
}

fn run(args: &ConfigArgs) -> ExitCode {
    let config = match config::refuse_root(nix::unistd::geteuid()).and_then(|()| load(args)) {
        Ok(config) => config,
        Err(error) => return finish(Err(error)),
    };
    logging::start(&config.log);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    daemon::run(config)
}

fn check_config(args: &ConfigArgs, output: ReportFormat) -> Result<(), ConfigError> {
    let text = config::report(&load(args)?, output);
    // Whoever stops reading has seen enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}
