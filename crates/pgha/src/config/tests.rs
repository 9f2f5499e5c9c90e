//! What is accepted, what is refused, and who wins.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;

use clap::{Args, Command, FromArgMatches};

use super::error::Source;
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

#[test]
fn flag_over_variable_over_file_over_default() {
    let file =
        "advertise: db1:7400\ncluster: file\nhttp: {listen: '127.0.0.1:1'}\npostgres.direct: yes\n";
    let variables = [
        ("PGHA_CLUSTER", "variable"),
        ("PGHA_HTTP_LISTEN", "127.0.0.1:2"),
        ("PGHA_LOG_LEVEL", ""),
    ];
    let config = load(&["--cluster", "flag"], &variables, file).expect("valid");
    let source = |key: &str| {
        let entry = config
            .effective
            .iter()
            .find(|entry| entry.key == key)
            .expect("listed");
        (entry.value.as_str(), entry.source)
    };
    assert_eq!(source("cluster"), ("flag", Source::Flag));
    assert_eq!(source("http.listen"), ("127.0.0.1:2", Source::Environment));
    assert_eq!(source("postgres.direct"), ("true", Source::File));
    assert_eq!(source("log_level"), ("info", Source::Default));
    assert_eq!(
        (config.cluster.as_str(), config.postgres.direct),
        ("flag", true)
    );
    assert_eq!(config.listeners.http.to_string(), "127.0.0.1:2");
}

#[test]
fn every_key_but_join_is_reported_in_force() {
    let config = flags(&PEERS).expect("valid");
    let reported: Vec<&str> = config.effective.iter().map(|entry| entry.key).collect();
    let mut wanted: Vec<&str> = keys::KEYS.iter().map(|key| key.name).collect();
    wanted.retain(|key| *key != "join");
    assert_eq!(reported, wanted);
}

#[test]
fn addresses_derive_from_the_own_entry_in_peers() {
    let config = flags(
        &[
            &PEERS[..],
            &["--proxy-rw", "0.0.0.0:6501", "--http-listen", "10.9.9.9:80"],
        ]
        .concat(),
    );
    let config = config.expect("valid");
    let addresses = config.addresses();
    assert_eq!(addresses.raft, "10.0.0.1:7400");
    assert_eq!(addresses.postgres, "10.0.0.1:5433");
    assert_eq!(addresses.proxy_read_write, "10.0.0.1:6501");
    assert_eq!(addresses.proxy_read_only, "10.0.0.1:8501");
    assert_eq!(addresses.http, "10.9.9.9:80");
    assert_eq!(config.postgres.socket_dir, Path::new("/var/lib/pgha/run"));
    assert_eq!(config.raft_dir(), Path::new("/var/lib/pgha/raft"));
    assert_eq!(config.warnings, []);
}

#[test]
fn one_member_needs_an_address_and_is_warned_of() {
    assert!(refusal(flags(&[])).contains("--advertise"));
    let config = flags(&["--listen", "10.0.0.1:7400"]).expect("valid");
    assert_eq!(config.addresses().raft, "10.0.0.1:7400");
    assert_eq!(config.warnings, [Warning::ClusterOfOne]);
    let two = flags(&["--peers", "n1=a:1,n2=b:1"]).expect("valid");
    assert_eq!(two.warnings, [Warning::TwoVoters]);
}

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
}

#[test]
fn peers_must_have_this_member_at_its_address() {
    let text = refusal(flags(&["--name", "n9", PEERS[0], PEERS[1]]));
    assert!(text.contains("n9=HOST:PORT"), "{text}");
    let text = refusal(flags(&[PEERS[0], PEERS[1], "--advertise", "10.0.0.9:7400"]));
    assert!(text.contains("n1=10.0.0.1:7400"), "{text}");
    let text = refusal(flags(&[PEERS[0], PEERS[1], "--join", "a:1"]));
    assert!(text.contains("peers is given too"), "{text}");
    assert!(flags(&[PEERS[0], PEERS[1], "--advertise", "10.0.0.1:7400"]).is_ok());
}

#[test]
fn the_file_takes_sections_dots_lists_and_mappings() {
    let file = "
peers: {n1: '10.0.0.1:7400', n2: '10.0.0.2:7400', n3: '10.0.0.3:7400'}
witness: false
join:
postgres:
  hba:
    - host app app 192.168.0.0/16 scram-sha-256
  listen: 0.0.0.0:5499
proxy.read_write: 0.0.0.0:6000
initial:
  lease_ms: 2000
  read: {max_lag: 1MiB}
  postgres.parameters:
    random_page_cost: 1.1
    wal_compression: on
";
    let config = load(&[], &[], file).expect("valid");
    assert_eq!(config.peers, flags(&PEERS).expect("valid").peers);
    assert_eq!(
        config.postgres.hba,
        ["host app app 192.168.0.0/16 scram-sha-256"]
    );
    let wanted = [
        ("lease_ms", "2000"),
        ("postgres.parameters.random_page_cost", "1.1"),
        ("postgres.parameters.wal_compression", "on"),
        ("read.max_lag", "1MiB"),
    ];
    assert_eq!(
        config.initial,
        wanted
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    );
    let list = "peers: [n1=10.0.0.1:7400, n2=10.0.0.2:7400, n3=10.0.0.3:7400]";
    assert_eq!(load(&[], &[], list).expect("valid").peers, config.peers);
}

#[test]
fn a_repeated_flag_and_a_variable_give_several_settings() {
    let wanted: BTreeMap<String, String> = [
        ("lease_ms".to_owned(), "2000".to_owned()),
        (
            "postgres.parameters.shared_preload_libraries".to_owned(),
            "a,b".to_owned(),
        ),
    ]
    .into();
    let library = "postgres.parameters.shared_preload_libraries=a,b";
    let advertise = ["--advertise", "a:1"];
    let repeated = ["--initial", "lease_ms=2000", "--initial", library];
    assert_eq!(
        flags(&[&advertise[..], &repeated].concat())
            .expect("valid")
            .initial,
        wanted
    );
    let variable = format!("lease_ms=2000;{library}");
    let config = Config::load(&args(&advertise), &around(&[("PGHA_INITIAL", &variable)]));
    assert_eq!(config.expect("valid").initial, wanted);
}

#[test]
fn refuses_a_file_that_is_not_understood() {
    for (file, words) in [
        ("clustr: x", ["`clustr`", "did you mean `cluster`?"]),
        (
            "postgres: {lissten: x}",
            ["`postgres.lissten`", "did you mean `postgres.listen`?"],
        ),
        (
            "proxy-rw: x",
            ["`proxy-rw`", "did you mean `proxy.read_write`?"],
        ),
        ("proxy: 1", ["`proxy`", "accepted are"]),
        ("cluster: {a: 1}", ["cluster", "found a mapping"]),
        ("cluster: [a]", ["cluster", "found a list"]),
        ("cluster: 1.10", ["cluster", "put it in quotes"]),
        (
            "cluster: a\ncluster: b",
            ["`cluster` stands there twice", "line 2"],
        ),
        (
            "proxy.read_write: a\nproxy: {read_write: b}",
            ["proxy.read_write", "twice"],
        ),
        ("- a", ["mapping", "cluster: main"]),
        ("cluster: 'a", ["line 1", "cluster: main"]),
        ("initial: {lease_ms: [1]}", ["initial", "one value"]),
        (
            "initial: [lease_ms=1500, lease_ms=1600]",
            ["lease_ms", "given twice"],
        ),
        ("peers: [[n1=a:1]]", ["peers", "not plain text"]),
    ] {
        let text = refusal(load(&["--advertise", "a:1"], &[], file));
        for word in words {
            assert!(text.contains(word), "{file:?}: {text}");
        }
    }
    assert!(load(&["--advertise", "a:1"], &[], "").is_ok());
    let text = refusal(flags(&["--config", "/nonexistent/pgha.yaml"]));
    assert!(text.contains("/nonexistent/pgha.yaml"), "{text}");
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
fn the_password_comes_from_one_place_and_is_never_shown() {
    let advertise = ["--advertise", "a:1"];
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"s3cret\n").expect("written");
    let path = file.path().to_str().expect("text");
    let from_file = [&advertise[..], &["--pg-superuser-password-file", path]].concat();
    let variable = [("PGHA_PG_SUPERUSER_PASSWORD", "s3cret")];
    for config in [
        flags(&from_file),
        Config::load(&args(&advertise), &around(&variable)),
    ] {
        let config = config.expect("valid");
        assert_eq!(
            config
                .postgres
                .superuser_password
                .as_ref()
                .map(|secret| secret.expose()),
            Some("s3cret")
        );
        let table = report(&config, ReportFormat::Table);
        let shown = format!("{config:?}{table}{}", report(&config, ReportFormat::Json));
        assert!(!shown.contains("s3cret"), "{shown}");
    }
    let both = Config::load(&args(&from_file), &around(&variable));
    assert!(refusal(both).contains("give one of them"));
    std::fs::write(file.path(), "s3cret\nsecond\n").expect("written");
    let text = refusal(flags(&from_file));
    assert!(
        text.contains("one line") && !text.contains("s3cret"),
        "{text}"
    );
}

#[test]
fn a_secret_that_others_can_read_is_warned_of() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "s3cret").expect("written");
    let path = file.path().to_str().expect("text");
    let load =
        || flags(&["--advertise", "a:1", "--pg-superuser-password-file", path]).expect("valid");
    let warning = Warning::ReadableSecret {
        path: file.path().to_owned(),
    };
    assert!(!load().warnings.contains(&warning));
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644))
        .expect("own file");
    assert!(load().warnings.contains(&warning));
}

#[test]
fn loopback_is_warned_of_only_among_real_addresses() {
    let loopback =
        flags(&["--peers", "n1=127.0.0.1:1,n2=127.0.0.1:2,n3=localhost:3"]).expect("valid");
    assert_eq!(loopback.warnings, []);
    let mixed = flags(&["--pg-listen", "127.0.0.1:5433", PEERS[0], PEERS[1]]).expect("valid");
    let [Warning::LoopbackAdvertised { key, address }] = &mixed.warnings[..] else {
        panic!("{:?}", mixed.warnings);
    };
    assert_eq!(
        (*key, address.to_string().as_str()),
        ("postgres.listen", "127.0.0.1:5433")
    );
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
