//! What is refused, with what is accepted.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::{PEERS, args, around, flags, load, refusal};
use crate::config::*;

#[test]
fn refuses_with_key_value_and_what_is_accepted() {
    let good = ["--advertise", "db1:7400"];
    for (bad, words) in [
        (["--cluster", "a b"], ["cluster", "\"a b\"", "letters"]),
        (
            ["--listen", "localhost:7400"],
            ["listen", "\"localhost:7400\"", "IP:PORT"],
        ),
        (
            ["--http-listen", "0.0.0.0:0"],
            ["http.listen", "\"0.0.0.0:0\"", "1 to 65535"],
        ),
        (
            ["--pg-advertise", "0.0.0.0:1"],
            ["postgres.advertise", "0.0.0.0", "nobody can reach"],
        ),
        (
            ["--proxy-rw", "0.0.0.0:64000"],
            ["proxy.read_only", "65535", "IP:PORT"],
        ),
        (
            ["--proxy-ro", "127.0.0.1:5432"],
            ["proxy.read_only", "proxy.read_write", "own port"],
        ),
        (
            ["--pg-listen", "0.0.0.0:7400"],
            ["postgres.listen", "listen", "own port"],
        ),
        (
            ["--pg-superuser", "pg_root"],
            ["postgres.superuser", "\"pg_root\"", "name of a role"],
        ),
        (
            ["--pg-replication-user", "postgres"],
            ["postgres.replication_user", "superuser", "own"],
        ),
        (
            ["--pg-data-dir", "/var/lib/pgha"],
            ["postgres.data_dir", "/var/lib/pgha", "apart"],
        ),
        (
            ["--pg-data-dir", "/var/lib/pgha/raft/x"],
            ["postgres.data_dir", "overlaps", "apart"],
        ),
        (
            ["--initial", "lease_ms=5"],
            ["initial", "lease_ms=5", "1010"],
        ),
        (
            ["--initial", "leese_ms=1500"],
            ["initial", "leese_ms", "accepted are"],
        ),
        (
            ["--initial", "lease_ms"],
            ["initial", "\"lease_ms\"", "KEY=VALUE"],
        ),
        (
            [
                "--initial",
                "postgres.parameters.shared_preload_libraries=x",
            ],
            ["initial", "shared_preload_libraries=x", "leave it out"],
        ),
        (
            ["--initial", "postgres.parameters.archive_command=cp"],
            ["initial", "archive_command=cp", "leave it out"],
        ),
        (
            ["--initial", "postgres.parameters.Max_Wal_Senders=2"],
            ["initial", "Max_Wal_Senders=2", "at least 10"],
        ),
        (
            ["--initial", "postgres.parameters.max_connections=5"],
            ["initial", "max_connections=5", "above the 5"],
        ),
        (
            ["--initial", "postgres.parameters.reserved_connections=100"],
            [
                "reserved_connections=100",
                "max_connections = \"100\"",
                "above the 105",
            ],
        ),
        (
            ["--log-format", "xml"],
            ["log_format", "\"xml\"", "human or json"],
        ),
        (
            ["--log-level", "loud"],
            ["log_level", "\"loud\"", "error, warn, info"],
        ),
        (
            ["--agent-stall-ms", "10"],
            ["agent_stall_ms", "\"10\"", "500 to 60000"],
        ),
        (
            ["--join", "db2:7400"],
            ["join", "\"db2:7400\"", "not available in this version"],
        ),
    ] {
        let text = refusal(flags(&[&good[..], &bad].concat()));
        for word in words {
            assert!(text.contains(word), "{bad:?}: {text}");
        }
    }
    assert!(refusal(flags(&["--advertise", "a:1", "--pg-direct=maybe"])).contains("true or false"));
    let twice = "PGHA_INITIAL";
    let given = "postgres.parameters.work_mem=1MB;postgres.parameters.Work_Mem=2MB";
    let config = Config::load(&args(&good), &around(&[(twice, given)]));
    assert!(refusal(config).contains("Work_Mem is given twice"));
}

#[test]
fn an_hba_line_that_trusts_a_member_is_refused() {
    let with = |line: &str| load(&PEERS, &[], &format!("postgres:\n  hba: ['{line}']\n"));
    let text = refusal(with("host all all 10.0.0.0/24 trust"));
    assert!(
        text.contains("postgres.hba") && text.contains("trust"),
        "{text}"
    );
    assert!(with("host all all 192.168.0.0/24 trust").is_ok());
    let smuggled = load(
        &PEERS,
        &[],
        "postgres: {hba: [\"# x\\nlocal all all trust\"]}",
    );
    assert!(refusal(smuggled).contains("postgres.hba"));
}

#[test]
fn a_host_name_that_cannot_be_a_members_name_asks_for_one() {
    let around = Surroundings::new([], Some("my host".to_owned())).expect("text");
    assert!(refusal(Config::load(&args(&["--advertise", "a:1"]), &around)).contains("--name"));
    assert!(Config::load(&args(&["--advertise", "a:1", "--name", "n1"]), &around).is_ok());
}

#[test]
fn a_socket_path_that_the_kernel_refuses_is_refused_here() {
    let deep = format!("/tmp/{}", "d".repeat(100));
    let text = refusal(flags(&["--advertise", "a:1", "--data-dir", &deep]));
    assert!(
        text.contains("postgres.socket_dir") && text.contains("107"),
        "{text}"
    );
    let short = flags(&[
        "--advertise",
        "a:1",
        "--data-dir",
        &deep,
        "--pg-socket-dir",
        "/tmp",
    ]);
    assert!(short.is_ok(), "{short:?}");
}

#[test]
fn root_is_refused_with_what_to_do() {
    let error = refuse_root(nix::unistd::Uid::from_raw(0))
        .expect_err("refused")
        .to_string();
    assert!(
        error.contains("setpriv") && error.contains("User=postgres"),
        "{error}"
    );
    assert!(refuse_root(nix::unistd::Uid::from_raw(1000)).is_ok());
}

#[test]
fn unknown_variables_are_warned_of_with_what_was_meant() {
    let variables = [
        ("PGHA_CLUSTR", "x"),
        ("PGHA_ENDPOINTS", "a:1"),
        ("OTHER", "x"),
    ];
    let config = Config::load(&args(&PEERS), &around(&variables)).expect("valid");
    let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("PGHA_CLUSTR") && warnings[0].contains("PGHA_CLUSTER?"),
        "{warnings:?}"
    );
    let value = OsString::from_vec(vec![0xff]);
    let error = Surroundings::new([("PGHA_NAME".into(), value)], None).expect_err("not text");
    assert!(error.to_string().contains("PGHA_NAME"));
}
