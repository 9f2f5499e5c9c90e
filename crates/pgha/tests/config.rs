//! The configuration as the program reads it: exit codes and what is printed.

use std::process::{Command, Output};

fn check_config(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgha"));
    command.env_clear().envs(variables.iter().copied());
    command
        .arg("check-config")
        .args(arguments)
        .output()
        .expect("can be started")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn a_good_configuration_is_printed_with_its_sources() {
    let arguments = ["--name", "n1", "--advertise", "127.0.0.1:7400"];
    let output = check_config(&arguments, &[("PGHA_CLUSTER", "orders")]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let table = text(&output.stdout);
    let line = |key: &str| {
        table
            .lines()
            .find(|line| line.split_whitespace().nth(1) == Some(key))
    };
    let words = |key: &str| line(key).map(|line| line.split_whitespace().collect::<Vec<_>>());
    assert_eq!(words("cluster"), Some(vec!["env", "cluster", "orders"]));
    assert_eq!(words("name"), Some(vec!["flag", "name", "n1"]));
    assert_eq!(
        words("listen"),
        Some(vec!["default", "listen", "0.0.0.0:7400"])
    );
    assert!(table.contains("warning: peers is not set"), "{table}");
}

#[test]
fn the_report_is_also_json() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(
        file.path(),
        "name: n1\nadvertise: db1:7400\npostgres: {superuser_password: s3cret}",
    )
    .expect("written");
    let path = file.path().to_str().expect("text");
    let output = check_config(&["--output", "json"], &[("PGHA_CONFIG", path)]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("json");
    assert_eq!(
        value["keys"]["name"],
        serde_json::json!({"value": "n1", "source": "file"})
    );
    assert_eq!(
        value["keys"]["postgres.superuser_password"]["source"],
        "file"
    );
    assert!(!text(&output.stdout).contains("s3cret"));
}

#[test]
fn what_is_refused_is_one_line_and_2() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "clustr: x").expect("written");
    let path = file.path().to_str().expect("text");
    for (arguments, word) in [
        (&["--listen", "nowhere"][..], "listen = \"nowhere\""),
        (&["--config", path], "`clustr`"),
        (&["--join", "a:1"], "not available in this version"),
        (
            &[
                "--advertise",
                "a:1",
                "--initial",
                "postgres.parameters.archive_command=cp",
            ],
            "leave it out",
        ),
        (&["--pg-drect", "true"], "'--pg-direct'"),
        (&["--frobnicate"], "--frobnicate"),
        (&["--listen"], "--listen <IP:PORT>"),
        (&[], "--advertise"),
    ] {
        let output = check_config(&[&["--name", "n1"], arguments].concat(), &[]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        let error = text(&output.stderr);
        assert!(
            error.contains(word) && error.lines().count() == 1,
            "{arguments:?}: {error}"
        );
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

#[test]
fn a_switch_takes_its_value_as_every_flag_does() {
    for (switch, expected) in [
        (&["--pg-direct"][..], "true"),
        (&["--pg-direct", "true"], "true"),
        (&["--pg-direct=false"], "false"),
        (&["--pg-direct", "false"], "false"),
    ] {
        let rest = ["--name", "n1", "--advertise", "127.0.0.1:7400"];
        let output = check_config(&[switch, &rest].concat(), &[]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let line = text(&output.stdout)
            .lines()
            .find(|line| line.contains("postgres.direct"));
        assert!(
            line.is_some_and(|line| line.ends_with(expected)),
            "{line:?}"
        );
    }
}

#[test]
fn nothing_is_touched_by_a_refused_run() {
    let parent = tempfile::tempdir().expect("a directory");
    let data_dir = parent.path().join("data");
    let output = Command::new(env!("CARGO_BIN_EXE_pgha"))
        .env_clear()
        .args(["run", "--name", "n1", "--data-dir"])
        .arg(&data_dir)
        .args(["--advertise", "127.0.0.1:7400", "--initial", "lease_ms=5"])
        .output()
        .expect("can be started");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(text(&output.stderr).lines().count(), 1, "{output:?}");
    assert!(!data_dir.exists());
}
