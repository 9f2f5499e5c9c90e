//! `pgha-ctl`: shows and changes a cluster over gRPC, through any living member.

mod cli;
mod command;
mod confirm;
mod editor;
mod endpoint;
mod error;
mod output;
mod session;
mod table;
mod view;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use cli::{
    Cli, ClusterCommand, Command, PerformCommand, QuorumCommand, SettingsCommand, ShowCommand,
};
use command::dsn::Notation;
use command::{change, doctor, dsn, explain, history, quorum, settings, status, watch};
use error::{CtlError, EXIT_DONE};
use output::{Output, note, write_out};
use session::Session;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misunderstood(&error),
    };
    let session = Session::new(cli.endpoints, cli.timeout);
    match run(&session, cli.output, cli.command).await {
        Ok(()) => ExitCode::from(EXIT_DONE),
        Err(error) => {
            let code = error.exit_code();
            if code != EXIT_DONE {
                note(&format!("pgha-ctl: {error}"));
            }
            ExitCode::from(code)
        }
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
    let usage = CtlError::Usage(format!("{}; see `pgha-ctl --help`", said.join("; ")));
    note(&format!("pgha-ctl: {usage}"));
    ExitCode::from(usage.exit_code())
}

async fn run(session: &Session, output: Output, command: Command) -> Result<(), CtlError> {
    match command {
        Command::Status(args)
        | Command::Show {
            command: ShowCommand::State(args),
        }
        | Command::Cluster {
            command: ClusterCommand::Show(args),
        } => {
            if args.watch {
                return watch::run(session, output).await;
            }
            status::run(session, output).await
        }
        Command::Watch => watch::run(session, output).await,
        Command::Switchover(args)
        | Command::Perform {
            command: PerformCommand::Switchover(args),
        } => change::switchover(session, output, args).await,
        Command::Failover(args) => change::failover(session, output, args).await,
        Command::Quorum {
            command: QuorumCommand::Show,
        } => quorum::show(session, output).await,
        Command::Quorum {
            command: QuorumCommand::Recover(args),
        } => quorum::recover(session, output, args).await,
        Command::History => history::run(session, output).await,
        Command::Settings {
            command: SettingsCommand::Show,
        }
        | Command::ShowConfig => settings::show(session, output).await,
        Command::Settings {
            command: SettingsCommand::Set(args),
        } => settings::set(session, output, args).await,
        Command::Settings {
            command: SettingsCommand::Edit(args),
        }
        | Command::EditConfig(args) => settings::edit(session, output, args).await,
        Command::Explain(args) => explain::run(session, output, args.epoch).await,
        Command::Doctor => doctor::run(session, output).await,
        Command::Dsn(args) => dsn::run(session, output, &args).await,
        Command::Show {
            command: ShowCommand::Uri(mut args),
        } => {
            args.notation.get_or_insert(Notation::Uri);
            dsn::run(session, output, &args).await
        }
        Command::Completions { shell } => completions(shell),
        Command::Version => write_out(&Cli::command().render_version()),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), CtlError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "pgha-ctl", &mut script);
    write_out(&String::from_utf8_lossy(&script))
}
