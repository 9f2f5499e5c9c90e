//! The table of keys in the manual is the table that the program uses.

use std::fmt::Write;
use std::path::Path;

use clap::{Args, Command};

use super::flags::ConfigArgs;
use super::keys::KEYS;

const BEGIN: &str = "<!-- keys: begin -->\n";
const END: &str = "<!-- keys: end -->\n";

/// Compares; `PGHA_UPDATE_GOLDEN=1` writes the table anew, to be reviewed as a diff.
#[test]
fn the_manual_has_the_table_of_keys() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let manual = std::fs::read_to_string(&path).expect("the manual");
    let (before, rest) = manual.split_once(BEGIN).expect("the begin of the table");
    let (found, after) = rest.split_once(END).expect("the end of the table");
    let wanted = table();
    if std::env::var_os("PGHA_UPDATE_GOLDEN").is_some() {
        let text = format!("{before}{BEGIN}{wanted}{END}{after}");
        std::fs::write(&path, text).expect("writable");
        return;
    }
    assert_eq!(
        found, wanted,
        "docs/configuration.md is not what the program does"
    );
}

/// Every flag that the command line really has, and nothing else, is in the table.
#[test]
fn the_table_has_the_flags_of_the_command_line() {
    let command = ConfigArgs::augment_args(Command::new("pgha"));
    let mut flags: Vec<&str> = command
        .get_arguments()
        .filter_map(|argument| argument.get_long())
        .collect();
    flags.retain(|flag| *flag != "config");
    let listed: Vec<&str> = KEYS.iter().filter_map(super::keys::Key::flag).collect();
    assert_eq!(flags, listed);
}

#[test]
fn names_are_given_once() {
    for (index, key) in KEYS.iter().enumerate() {
        let rest = &KEYS[index + 1..];
        assert!(
            rest.iter().all(|other| other.name != key.name),
            "{}",
            key.name
        );
        let variable = key.variable();
        assert!(
            variable.is_none() || rest.iter().all(|other| other.variable() != variable),
            "{variable:?}"
        );
    }
}

/// The table of settings, too, has every key with its real default.
#[test]
fn the_manual_has_the_settings_of_the_cluster() {
    let manual = include_str!("../../../../docs/configuration.md");
    for (key, default) in pgha_core::Settings::default().values() {
        let row = format!("| `{key}` | {default} |");
        assert!(manual.contains(&row), "{row}");
    }
}

fn table() -> String {
    let mut text =
        "\n| key | flag | variable | default | meaning |\n|---|---|---|---|---|\n".to_owned();
    for key in KEYS {
        let flag = key
            .flag()
            .map_or_else(|| "-".to_owned(), |flag| format!("`--{flag}`"));
        let variable = key
            .variable()
            .map_or_else(|| "-".to_owned(), |name| format!("`{name}`"));
        let (name, default, help) = (key.name, key.default, key.help);
        writeln!(
            text,
            "| `{name}` | {flag} | {variable} | {default} | {help} |"
        )
        .expect("a string");
    }
    text.push('\n');
    text
}
