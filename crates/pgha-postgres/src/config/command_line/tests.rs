use std::collections::BTreeMap;

use pgha_core::Epoch;

use super::*;
use crate::config::ParameterTrust;
use crate::{JobKind, Version};

fn options(role: StartRole, parameters: &[(&str, &str)]) -> StartOptions {
    let map: BTreeMap<_, _> = parameters
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    StartOptions {
        listen_addresses: "127.0.0.1".into(),
        port: 5433,
        cluster_name: "n1".into(),
        role,
        parameters: UserParameters::parse(&map, ParameterTrust::DataOnly).unwrap(),
    }
}

fn command(
    run_dir: &std::path::Path,
    options: &StartOptions,
) -> Result<PostgresCommand, StartError> {
    let installation = Installation {
        bin_dir: "/bin".into(),
        version: Version {
            major: 15,
            minor: 0,
        },
    };
    let layout = Layout {
        data_dir: "/data".into(),
        run_dir: run_dir.to_owned(),
        conf_dir: "/conf".into(),
        socket_dir: "/run".into(),
    };
    postgres_command(&installation, &layout, options)
}

fn has(command: &PostgresCommand, setting: &str) -> bool {
    command.args.iter().any(|arg| arg == setting)
}

#[test]
fn a_standing_marker_keeps_postgresql_down() {
    let run = tempfile::tempdir().unwrap();
    let guard = Marker::begin(run.path(), JobKind::Clone, Epoch(1)).unwrap();
    let error = command(run.path(), &options(StartRole::Primary, &[])).unwrap_err();
    assert!(matches!(error, StartError::JobUnfinished { .. }));
    guard.finish().unwrap();
    assert!(command(run.path(), &options(StartRole::Primary, &[])).is_ok());
}

#[test]
fn safety_settings_are_on_the_command_line() {
    let run = tempfile::tempdir().unwrap();
    let command = command(
        run.path(),
        &options(StartRole::Primary, &[("wal_level", "logical")]),
    )
    .unwrap();
    for setting in [
        "fsync=on",
        "full_page_writes=on",
        "wal_log_hints=on",
        "restart_after_crash=off",
        "wal_level=logical",
    ] {
        assert!(has(&command, setting), "{setting}");
    }
    assert!(
        !command
            .args
            .iter()
            .any(|arg| arg.starts_with("max_connections"))
    );
}

#[test]
fn a_standby_is_never_below_its_primary() {
    let run = tempfile::tempdir().unwrap();
    let floor = StandbyFloor {
        max_connections: 300,
        max_worker_processes: 8,
        max_wal_senders: 25,
        max_prepared_transactions: 5,
        max_locks_per_transaction: 64,
    };
    let parameters = [
        ("max_connections", "400"),
        ("max_prepared_transactions", "2"),
    ];
    let command = command(run.path(), &options(StartRole::Standby(floor), &parameters)).unwrap();
    assert!(has(&command, "max_wal_senders=25"));
    assert!(!has(&command, "max_wal_senders=10"));
    assert!(has(&command, "max_prepared_transactions=5"));
    assert!(
        !command
            .args
            .iter()
            .any(|arg| arg.starts_with("max_connections"))
    );
}
