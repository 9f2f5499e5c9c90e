//! Who wins, and what is shown of it.

use super::{PEERS, args, around, flags, load};
use crate::config::error::Source;
use crate::config::*;

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
fn a_repeated_flag_and_a_variable_give_several_settings() {
    let mut wanted = Settings::default();
    wanted.set("lease_ms", "2000").expect("valid");
    let path = "postgres.parameters.search_path";
    wanted.set(path, "a,b").expect("valid");
    let path = format!("{path}=a,b");
    let advertise = ["--advertise", "a:1"];
    let repeated = ["--initial", "lease_ms=2000", "--initial", &path];
    let config = flags(&[&advertise[..], &repeated].concat());
    assert_eq!(config.expect("valid").initial, wanted);
    let variable = format!("lease_ms=2000;{path}");
    let config = Config::load(&args(&advertise), &around(&[("PGHA_INITIAL", &variable)]));
    assert_eq!(config.expect("valid").initial, wanted);
}
