//! The command line, made from the table of keys.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::keys::{KEYS, Key, Kind};

const CONFIG: &str = "config";

/// What the command line says; flattened into the subcommands that need a configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConfigArgs {
    /// The configuration file.
    pub(crate) file: Option<PathBuf>,
    /// Items of each key that was given, by the key's name.
    pub(super) given: BTreeMap<&'static str, Vec<String>>,
}

impl FromArgMatches for ConfigArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        if let Some(file) = matches.get_one::<PathBuf>(CONFIG) {
            self.file = Some(file.clone());
        }
        for key in KEYS.iter().filter(|key| key.flag().is_some()) {
            if let Some(texts) = matches.get_many::<String>(key.name) {
                self.given
                    .insert(key.name, texts.flat_map(|text| items(key, text)).collect());
            }
        }
        Ok(())
    }
}

/// A repeated flag needs no separator, so its value may hold any character.
fn items(key: &Key, text: &str) -> Vec<String> {
    match key.kind {
        Kind::Pairs => vec![text.to_owned()],
        Kind::Text | Kind::Switch | Kind::Peers | Kind::Lines | Kind::Secret => key.split(text),
    }
}

impl Args for ConfigArgs {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("Configuration file (YAML); each flag below is a key in it [env: PGHA_CONFIG]");
        command.arg(config).args(KEYS.iter().filter_map(argument)).after_help(
            "Every flag is also an environment variable and a key of the file; a flag goes before a \
             variable, a variable before the file. Superuser's password: PGHA_PG_SUPERUSER_PASSWORD.",
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn argument(key: &'static Key) -> Option<Arg> {
    let (flag, variable) = (key.flag()?, key.variable()?);
    let help = format!("{} [env: {variable}] [default: {}]", key.help, key.default);
    let argument = Arg::new(key.name)
        .long(flag)
        .value_name(key.value)
        .help(help);
    Some(match key.kind {
        Kind::Switch => argument
            .num_args(0..=1)
            .default_missing_value("true")
            .action(ArgAction::Set),
        Kind::Pairs => argument.action(ArgAction::Append),
        Kind::Text | Kind::Peers | Kind::Lines | Kind::Secret => argument.action(ArgAction::Set),
    })
}
