//! The configuration file.

use pgha_core::Settings;

use super::{PEERS, flags, load, refusal};

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
    let mut settings = Settings::default();
    for (key, value) in wanted {
        settings.set(key, value).expect("valid");
    }
    assert_eq!(config.initial, settings);
    let list = "peers: [n1=10.0.0.1:7400, n2=10.0.0.2:7400, n3=10.0.0.3:7400]";
    assert_eq!(load(&[], &[], list).expect("valid").peers, config.peers);
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
