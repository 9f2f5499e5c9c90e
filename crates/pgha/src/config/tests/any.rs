//! Whatever stands in the file, the flags and the variables: accepted, or refused in one line.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::super::error::Source;
use super::super::keys::{KEYS, Key, Kind};
use super::*;

/// Texts near to what some key takes, and texts that none does.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9.-]{0,12}(:[0-9]{0,6})?",
        "(n[1-3]=[a-z0-9.]{1,8}:[0-9]{1,5},?){0,3}",
        "(lease_ms|sync.mode|read.max_lag|postgres.parameters.work_mem)=[0-9a-zA-Z]{0,8}",
        "(true|false|on|off|yes|[0-9]{1,6}|/[a-z/]{0,9}|\\[::1\\]:[0-9]{1,4})",
        any::<String>(),
    ]
}

fn key() -> impl Strategy<Value = &'static Key> {
    prop::sample::select(KEYS.iter().collect::<Vec<_>>())
}

/// What a YAML file may be: anything, or keys with values of all forms.
fn file() -> impl Strategy<Value = String> {
    let line = (key(), value(), 0..6_u8).prop_map(|(key, value, form)| match form {
        0 => format!("{}: {value}", key.name),
        1 => format!("{}: [{value:?}]", key.name),
        2 => format!("{}: {{a: {value:?}}}", key.name),
        3 => format!("{}:\n  - {value:?}", key.name),
        _ => format!("{}: {value:?}", key.name),
    });
    let lines = prop::collection::vec(line, 0..5).prop_map(|lines| lines.join("\n"));
    prop_oneof![3 => lines, 1 => any::<String>()]
}

/// One line of at most a few screens, and no control characters in it: it goes to a terminal.
fn judge(result: Result<Config, ConfigError>) -> Result<Option<Config>, TestCaseError> {
    match result {
        Ok(config) => Ok(Some(config)),
        Err(error) => {
            let text = error.to_string();
            prop_assert!(!text.contains('\n'), "{text:?}");
            prop_assert!(!text.is_empty());
            Ok(None)
        }
    }
}

/// What the report shows, given again, is the same configuration.
fn comes_back(config: &Config) -> Result<(), TestCaseError> {
    let mut variables = Vec::new();
    for entry in &config.effective {
        let key = KEYS
            .iter()
            .find(|key| key.name == entry.key)
            .expect("known");
        let shown = !matches!(key.kind, Kind::Secret | Kind::Lines);
        if let Some(variable) = key
            .variable()
            .filter(|_| shown && entry.source != Source::Default)
        {
            variables.push((variable, entry.value.clone()));
        }
    }
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let again = Config::load(&args(&[]), &around(&variables));
    let again = again.map_err(|error| TestCaseError::fail(format!("{variables:?}: {error}")))?;
    let values = |config: &Config| -> Vec<(&str, String)> {
        let entries = config.effective.iter();
        let shown =
            entries.filter(|entry| !entry.key.contains("password") && !entry.key.contains("hba"));
        shown
            .map(|entry| (entry.key, entry.value.clone()))
            .collect()
    };
    prop_assert_eq!(values(&again), values(config));
    Ok(())
}

proptest! {
    #[test]
    fn any_file_is_accepted_or_refused_in_one_line(text in file()) {
        if let Some(config) = judge(load(&["--advertise", "127.0.0.1:7400"], &[], &text))? {
            comes_back(&config)?;
        }
    }

    #[test]
    fn any_variables_are_accepted_or_refused_in_one_line(
        given in prop::collection::vec((key(), value()), 0..4),
    ) {
        let variables: Vec<(String, String)> = given
            .into_iter()
            .filter_map(|(key, value)| Some((key.variable()?, value)))
            .filter(|(_, value)| !value.contains('\0'))
            .collect();
        let mut all: Vec<(&str, &str)> = vec![("PGHA_ADVERTISE", "127.0.0.1:7400")];
        all.extend(variables.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        if let Some(config) = judge(Config::load(&args(&[]), &around(&all)))? {
            comes_back(&config)?;
        }
    }

    #[test]
    fn any_flags_are_accepted_or_refused_in_one_line(
        given in prop::collection::btree_map(prop::sample::select(KEYS.iter().filter_map(Key::flag).collect::<Vec<_>>()), value(), 0..4),
    ) {
        let flags: Vec<String> = given.iter().map(|(flag, value)| format!("--{flag}={value}")).collect();
        let mut all: Vec<&str> = flags.iter().map(String::as_str).collect();
        if !given.contains_key("advertise") {
            all.push("--advertise=127.0.0.1:7400");
        }
        if let Some(config) = judge(Config::load(&args(&all), &around(&[])))? {
            comes_back(&config)?;
        }
    }
}

#[test]
fn a_full_report_can_be_given_again() {
    let text = "cluster: orders\nname: n1\ndata_dir: /srv/pgha\nlisten: 127.0.0.1:7401\n\
        peers: {n1: '127.0.0.1:7401', n2: '127.0.0.1:7402', n3: '127.0.0.1:7403'}\n\
        http.listen: 127.0.0.1:8101\nwitness: false\npostgres: {direct: true, listen: '0.0.0.0:5501'}\n\
        initial: {lease_ms: 2000, postgres.parameters.work_mem: 8MB}\n";
    let config = load(&[], &[], text).expect("accepted");
    let given = config.effective.iter();
    let given = given.filter(|entry| entry.source == Source::File).count();
    assert_eq!(given, 10);
    comes_back(&config).expect("the same");
}
