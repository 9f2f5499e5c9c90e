//! What is taken, what is refused, and that it stays on its line.

use proptest::prelude::*;

use super::*;

fn parse(name: &str, value: &str, trust: ParameterTrust) -> Result<UserParameters, ParameterError> {
    UserParameters::parse(
        &BTreeMap::from([(name.to_owned(), value.to_owned())]),
        trust,
    )
}

#[test]
fn refuses_what_pgha_owns_in_any_spelling() {
    for name in [
        "synchronous_standby_names",
        "primary_conninfo",
        "Primary_Slot_Name",
        "restore_command",
        "recovery_target_timeline",
        "recovery_min_apply_delay",
        "FSYNC",
        "full_page_writes",
        "restart_after_crash",
        "hot_standby",
        "listen_addresses",
        "port",
        "data_directory",
        "hba_file",
        "include_if_exists",
        "pgha.revision",
    ] {
        let error = parse(name, "x", ParameterTrust::MayRunCode).unwrap_err();
        assert!(error.why == ParameterRefusal::Owned, "{name}: {error}");
    }
}

#[test]
fn wal_level_is_at_least_replica() {
    assert!(parse("wal_level", "minimal", ParameterTrust::MayRunCode).is_err());
    assert!(parse("wal_level", "Logical", ParameterTrust::MayRunCode).is_ok());
    assert!(parse("max_wal_senders", "0", ParameterTrust::MayRunCode).is_err());
    assert!(parse("max_wal_senders", "20", ParameterTrust::MayRunCode).is_ok());
}

#[test]
fn code_needs_trust() {
    for name in [
        "archive_command",
        "plperl.on_init",
        "plperl.on_plperlu_init",
        "pltcl.start_proc",
    ] {
        let error = parse(name, "cp", ParameterTrust::DataOnly).unwrap_err();
        assert!(error.why == ParameterRefusal::RunsCode, "{name}");
        assert!(parse(name, "cp", ParameterTrust::MayRunCode).is_ok());
    }
    assert!(
        parse(
            "plpgsql.variable_conflict",
            "error",
            ParameterTrust::DataOnly
        )
        .is_ok()
    );
}

#[test]
fn somebody_without_a_reservation_gets_in() {
    let all = |values: &[(&str, &str)]| {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let parameters = values.iter().map(owned).collect();
        UserParameters::parse(&parameters, ParameterTrust::DataOnly)
    };
    let error = all(&[("max_connections", "5")]).unwrap_err().to_string();
    assert!(error.contains("above the 5 that are reserved"), "{error}");
    assert!(all(&[("max_connections", "6")]).is_ok());
    assert!(all(&[("superuser_reserved_connections", "100")]).is_err());
    let more = [
        ("superuser_reserved_connections", "100"),
        ("max_connections", "200"),
    ];
    assert!(all(&more).is_ok());
}

#[test]
fn what_is_refused_does_not_keep_the_others_out() {
    let stored = [
        ("archive_command", "cp %p /x"),
        ("max_connections", "5"),
        ("max_wal_senders", "2"),
        ("Work_Mem", "8MB"),
    ];
    let stored = stored.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let (taken, refused) = UserParameters::sift(&stored.into(), ParameterTrust::DataOnly);
    assert_eq!(taken.iter().collect::<Vec<_>>(), [("work_mem", "8MB")]);
    let refused: Vec<&str> = refused.iter().map(|error| error.name.as_str()).collect();
    assert_eq!(
        refused,
        ["archive_command", "max_wal_senders", "max_connections"]
    );
}

#[test]
fn a_refusal_is_one_line_with_name_value_and_way_out() {
    for (name, value, words) in [
        (
            "archive_command",
            "cp",
            ["archive_command = \"cp\"", "leave it out"],
        ),
        ("Port", "1", ["port = \"1\"", "leave it out"]),
        (
            "max_wal_senders",
            "2",
            ["max_wal_senders = \"2\"", "at least 10"],
        ),
        ("a\nb", "1", ["a\\nb = \"1\"", "letters, digits"]),
        ("work_mem", "1\n2", ["work_mem = \"1\\n2\"", "line break"]),
    ] {
        let text = parse(name, value, ParameterTrust::DataOnly)
            .unwrap_err()
            .to_string();
        for word in words {
            assert!(text.contains(word), "{text}");
        }
        assert_eq!(text.lines().count(), 1, "{text:?}");
    }
}

#[test]
fn names_and_values_stay_on_their_line() {
    for name in [
        "",
        "a b",
        "a=b",
        "a\nb",
        "1a",
        "a.b.c",
        ".a",
        "a.",
        "a'b",
        "port = 1\nfsync",
    ] {
        let error = parse(name, "1", ParameterTrust::MayRunCode).unwrap_err();
        assert!(error.why == ParameterRefusal::Name, "{name:?}");
    }
    let error = parse("work_mem", "1\nfsync = off", ParameterTrust::MayRunCode).unwrap_err();
    assert!(matches!(error.why, ParameterRefusal::Quote(_)));
}

proptest! {
    #[test]
    fn an_owned_name_never_passes(index in 0..OWNED.len(), upper: Vec<bool>) {
        let name: String = OWNED[index].chars().enumerate()
            .map(|(at, c)| if upper.get(at).copied().unwrap_or(false) { c.to_ascii_uppercase() } else { c })
            .collect();
        prop_assert!(parse(&name, "on", ParameterTrust::MayRunCode).is_err());
    }

    /// What is taken is one line of a configuration file, whatever it is called and holds.
    #[test]
    fn any_name_and_value_are_taken_or_refused(
        name in prop_oneof!["[a-zA-Z_][a-zA-Z0-9_.]{0,70}", any::<String>()],
        value: String,
    ) {
        for trust in [ParameterTrust::MayRunCode, ParameterTrust::DataOnly] {
            let Ok(parameters) = parse(&name, &value, trust) else {
                continue;
            };
            let taken: Vec<_> = parameters.iter().collect();
            prop_assert_eq!(&taken, &[(&*name.to_ascii_lowercase(), &*value)]);
            let line = format!("{} = {}", taken[0].0, quote_setting(taken[0].1).unwrap());
            prop_assert_eq!(line.lines().count(), 1);
            prop_assert!(!line.chars().any(|c| matches!(c, '\n' | '\r' | '\0')));
        }
    }
}
