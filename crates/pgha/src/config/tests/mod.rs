//! What is accepted, what is refused, and who wins.

mod addresses;
mod any;
mod file;
mod layers;
mod refusals;
mod secrets;

use std::ffi::OsString;
use std::io::Write;

use clap::{Args, Command, FromArgMatches};

use super::*;

fn args(flags: &[&str]) -> ConfigArgs {
    let command = ConfigArgs::augment_args(Command::new("pgha").no_binary_name(true));
    let matches = command.try_get_matches_from(flags).expect("known flags");
    ConfigArgs::from_arg_matches(&matches).expect("flags")
}

fn around(variables: &[(&str, &str)]) -> Surroundings {
    let variables = variables
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Surroundings::new(variables, Some("n1".to_owned())).expect("text")
}

fn load(flags: &[&str], variables: &[(&str, &str)], file: &str) -> Result<Config, ConfigError> {
    let mut on_disk = tempfile::NamedTempFile::new().expect("a file");
    on_disk.write_all(file.as_bytes()).expect("written");
    let mut args = args(flags);
    args.file = Some(on_disk.path().to_owned());
    Config::load(&args, &around(variables))
}

fn flags(flags: &[&str]) -> Result<Config, ConfigError> {
    Config::load(&args(flags), &around(&[]))
}

/// A refusal is one line.
fn refusal(result: Result<Config, ConfigError>) -> String {
    let text = result.expect_err("refused").to_string();
    assert!(!text.contains('\n'), "{text:?}");
    text
}

const PEERS: [&str; 2] = [
    "--peers",
    "n2=10.0.0.2:7400,n1=10.0.0.1:7400,n3=10.0.0.3:7400",
];
