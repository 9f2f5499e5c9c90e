//! The command line.

use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use jiff::SignedDuration;

use crate::command::dsn::Notation;
use crate::command::settings::parse_pair;
use crate::endpoint::Endpoint;
use crate::output::Output;

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 refused or failed, 2 wrong usage or not confirmed, 3 nobody reachable,
4 timed out (the outcome is unknown).

Coming from another tool:
  patronictl list, stolonctl status          -> status
  patronictl list -W, pg_autoctl watch       -> watch
  pg_autoctl show state, repmgr cluster show -> show state, cluster show: the same as status
  patronictl show-config, stolonctl spec     -> show-config, spec: the same as settings show
  patronictl edit-config                     -> edit-config: the same as settings edit
  pg_autoctl show uri                        -> show uri: the same as dsn --notation uri
  pg_autoctl perform switchover              -> perform switchover: the same as switchover";

/// Shows and changes a pgha cluster; any living member will do.
#[derive(Debug, Parser)]
#[command(name = "pgha-ctl", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// Members to ask, the next one if one is down.
    #[arg(
        long = "endpoint",
        value_name = "HOST:PORT",
        env = "PGHA_ENDPOINTS",
        default_value = "127.0.0.1:7400",
        value_delimiter = ',',
        global = true
    )]
    pub(crate) endpoints: Vec<Endpoint>,
    /// The form of the result.
    #[arg(long, short, value_enum, default_value_t, global = true)]
    pub(crate) output: Output,
    /// How long to wait for the outcome: seconds, or with a unit such as 500ms or 2m.
    #[arg(long, value_name = "TIME", default_value = "60", value_parser = parse_timeout, global = true)]
    pub(crate) timeout: Duration,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show members, roles, lag, and why anything is not as it should be.
    #[command(visible_alias = "list")]
    Status(StatusArgs),
    /// The same as `status --watch`.
    Watch,
    /// Make another member primary while both live; nothing is lost.
    Switchover(SwitchoverArgs),
    /// Make a member primary in the place of one that may be gone.
    Failover(FailoverArgs),
    /// Go on with one member after most were lost for ever.
    Quorum {
        #[command(subcommand)]
        command: QuorumCommand,
    },
    /// List every change of primary.
    History,
    /// Show or change the settings of the whole cluster.
    Settings {
        #[command(subcommand)]
        command: SettingsCommand,
    },
    /// The same as `settings show`.
    #[command(hide = true, alias = "spec")]
    ShowConfig,
    /// The same as `settings edit`.
    #[command(hide = true)]
    EditConfig(EditArgs),
    /// Tell why the primary changed.
    Explain(ExplainArgs),
    /// Check the cluster for what is wrong or soon will be; exit code 1 if there is a problem.
    Doctor,
    /// Print connection strings for applications.
    Dsn(DsnArgs),
    /// The names that pg_autoctl uses.
    #[command(hide = true)]
    Show {
        #[command(subcommand)]
        command: ShowCommand,
    },
    /// The name that pg_autoctl uses.
    #[command(hide = true)]
    Perform {
        #[command(subcommand)]
        command: PerformCommand,
    },
    /// The name that repmgr uses.
    #[command(hide = true)]
    Cluster {
        #[command(subcommand)]
        command: ClusterCommand,
    },
    /// Print a completion script.
    Completions {
        /// The shell that is to complete.
        shell: Shell,
    },
    /// Print the version.
    Version,
}

/// After the loss of the quorum.
#[derive(Debug, Subcommand)]
pub(crate) enum QuorumCommand {
    /// Show what one member has, and whether it could go on alone; changes nothing.
    Show,
    /// Go on with the one member at --endpoint alone: the others are lost for ever.
    Recover(RecoverArgs),
}

/// The recovery of a lost quorum.
#[derive(Debug, Args)]
pub(crate) struct RecoverArgs {
    /// The id of the cluster, as `quorum show` and `status --output json` have it.
    #[arg(long, value_name = "CLUSTER_ID")]
    pub(crate) confirm: String,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// Settings.
#[derive(Debug, Subcommand)]
pub(crate) enum SettingsCommand {
    /// Print all settings.
    Show,
    /// Change settings; all of them, or none.
    Set(SetArgs),
    /// Change settings in $VISUAL or $EDITOR.
    Edit(EditArgs),
}

/// `show` of pg_autoctl.
#[derive(Debug, Subcommand)]
pub(crate) enum ShowCommand {
    /// The same as `status`.
    State(StatusArgs),
    /// The same as `dsn --notation uri`.
    Uri(DsnArgs),
}

/// `perform` of pg_autoctl.
#[derive(Debug, Subcommand)]
pub(crate) enum PerformCommand {
    /// The same as `switchover`.
    Switchover(SwitchoverArgs),
}

/// `cluster` of repmgr.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// The same as `status`.
    Show(StatusArgs),
}

/// How to show the status.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Show it again whenever it changed, until interrupted.
    #[arg(long, short = 'W')]
    pub(crate) watch: bool,
}

/// Whether to ask before a change, and to wait after it.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// Do not ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Leave as soon as a member has taken the order.
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// A planned change of primary.
#[derive(Debug, Args)]
pub(crate) struct SwitchoverArgs {
    /// The next primary; the best replica if left out.
    #[arg(long, value_name = "NAME")]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// A forced change of primary.
#[derive(Debug, Args)]
pub(crate) struct FailoverArgs {
    /// The next primary.
    #[arg(long, value_name = "NAME")]
    pub(crate) to: String,
    /// Do it even if more committed data is lost than the settings allow.
    #[arg(long)]
    pub(crate) allow_data_loss: bool,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// Settings to change.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// Settings with their new values.
    #[arg(value_name = "KEY=VALUE", value_parser = parse_pair, required_unless_present = "unset")]
    pub(crate) values: Vec<(String, String)>,
    /// Set back to the default; can be given several times.
    #[arg(long, value_name = "KEY")]
    pub(crate) unset: Vec<String>,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// An edit.
#[derive(Debug, Args)]
pub(crate) struct EditArgs {
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// Which change to explain.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The epoch that it began; the last one if left out.
    #[arg(long, value_name = "N")]
    pub(crate) epoch: Option<u64>,
}

/// What the connection string is for.
#[derive(Clone, Debug, Args)]
pub(crate) struct DsnArgs {
    /// Database.
    #[arg(long, value_name = "NAME", default_value = "postgres")]
    pub(crate) dbname: String,
    /// Role to log in as; left out unless given.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// The ports that spread reads over the replicas.
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Print only this one, bare.
    #[arg(long, value_enum)]
    pub(crate) notation: Option<Notation>,
}

/// A number of seconds, or a number with its unit.
fn parse_timeout(text: &str) -> Result<Duration, String> {
    let expected = || format!("`{text}` is not a time above 0, for example 60, 500ms or 2m");
    let seconds = text.parse::<f64>().ok();
    let span = match seconds {
        Some(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        None => SignedDuration::from_str(text)
            .ok()
            .and_then(|span| Duration::try_from(span).ok()),
    };
    // A day is as good as for ever, and leaves room for sums.
    const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
    span.filter(|span| !span.is_zero() && *span <= TIMEOUT_MAX)
        .ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn timeouts_have_units() {
        for (text, millis) in [
            ("60", 60_000),
            ("0.5", 500),
            ("500ms", 500),
            ("2m", 120_000),
            ("1s", 1000),
        ] {
            assert_eq!(
                parse_timeout(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in ["", "0", "-1", "soon", "NaN", "inf", "1e300", "2d"] {
            assert!(parse_timeout(text).is_err(), "{text}");
        }
    }

    /// Every command and option that is shown in the help is in the manual, and each only once.
    #[test]
    fn the_manual_names_every_command_and_option() {
        let manual = include_str!("../../../docs/cli.md");
        let mut missing = Vec::new();
        collect(&Cli::command(), manual, "pgha-ctl", &mut missing);
        assert!(missing.is_empty(), "not in docs/cli.md: {missing:?}");
    }

    fn collect(command: &clap::Command, manual: &str, path: &str, missing: &mut Vec<String>) {
        for argument in command.get_arguments() {
            let Some(long) = argument.get_long() else {
                continue;
            };
            if !matches!(long, "help" | "version") && !manual.contains(&format!("--{long}")) {
                missing.push(format!("{path} --{long}"));
            }
        }
        for nested in command.get_subcommands() {
            let path = format!("{path} {}", nested.get_name());
            if !manual.contains(path.trim_start_matches("pgha-ctl ")) {
                missing.push(path.clone());
            }
            collect(nested, manual, &path, missing);
        }
    }
}
