//! From what was given to what is known good.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use pgha_core::MemberName;

use super::error::ConfigError;
use super::layers::{GivenItems, Surroundings};
use super::names::{parse_cluster, parse_member};
use super::peers::PeerList;
use super::resolver::Resolver;
use super::{Config, hba, initial, keys, listeners, postgres, warning};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Human => "human",
            Self::Json => "json",
        })
    }
}

/// How to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogConfig {
    /// How lines look.
    pub(crate) format: LogFormat,
    /// A level or directives, known to parse as a `tracing` filter.
    pub(crate) filter: String,
}

pub(super) fn parse(
    given: BTreeMap<&'static str, GivenItems>,
    around: &Surroundings,
    file: Option<&Path>,
) -> Result<Config, ConfigError> {
    let mut resolver = Resolver::new(given);
    let resolver = &mut resolver;
    refuse_join(resolver)?;
    let cluster = resolver.required("cluster", parse_cluster)?;
    let name = parse_name(resolver, around)?;
    let data_dir = resolver.path("data_dir", Path::new(keys::DATA_DIR))?;
    let peers = parse_peers(resolver, &name)?;
    let listeners = listeners::parse(resolver)?;
    let postgres = postgres::parse(resolver, &data_dir)?;
    listeners::refuse_collisions(&listeners, postgres.listen)?;
    let advertised =
        listeners::parse_advertised(resolver, &name, &peers, &listeners, postgres.listen)?;
    hba::check(&postgres.hba, &peers, &advertised)?;
    let mut config = Config {
        cluster,
        name,
        data_dir,
        peers,
        listeners,
        advertised,
        witness: resolver.required("witness", parse_bool)?,
        postgres,
        initial: initial::parse(resolver)?,
        agent_stall: parse_millis(resolver, "agent_stall_ms", 500, 60_000)?,
        primary_hang: parse_millis(resolver, "primary_hang_ms", 1000, 600_000)?,
        log: parse_log(resolver)?,
        warnings: Vec::new(),
        effective: resolver.take_effective(),
    };
    config.warnings = warning::collect(&config, resolver, around, file);
    Ok(config)
}

fn refuse_join(resolver: &Resolver) -> Result<(), ConfigError> {
    const KEY: &str = "join";
    if !resolver.is_given(KEY) {
        return Ok(());
    }
    let what = if resolver.is_given("peers") {
        "peers is given too; a member either forms a cluster (peers) or joins one (join)"
    } else {
        "joining a running cluster is not available in this version; list all members in peers when the cluster is formed"
    };
    Err(resolver.refusal(KEY, what.to_owned()))
}

fn parse_name(resolver: &mut Resolver, around: &Surroundings) -> Result<MemberName, ConfigError> {
    const KEY: &str = "name";
    let of_host = || -> Result<MemberName, ConfigError> {
        let host = around.host_name.as_deref().unwrap_or_default();
        parse_member(host).map_err(|accepted| ConfigError::Refused {
            key: KEY,
            what: format!(
                "the host's name {host:?} cannot be the member's: {accepted}; give --name"
            ),
        })
    };
    let given = resolver.optional(KEY, parse_member)?;
    let name = given.map_or_else(of_host, Ok)?;
    resolver.note(KEY, &name);
    Ok(name)
}

fn parse_peers(resolver: &mut Resolver, name: &MemberName) -> Result<PeerList, ConfigError> {
    const KEY: &str = "peers";
    let parsed = resolver.items(KEY).map(PeerList::parse).transpose();
    let peers = parsed
        .map_err(|what| resolver.refusal(KEY, what))?
        .unwrap_or_default();
    if !peers.is_empty() && peers.address(name).is_none() {
        let what =
            format!("this member, {name}, is not in it; add {name}=HOST:PORT, or give --name");
        return Err(resolver.refusal(KEY, what));
    }
    resolver.note(KEY, &peers);
    Ok(peers)
}

fn parse_log(resolver: &mut Resolver) -> Result<LogConfig, ConfigError> {
    let format = resolver.required("log_format", |text| match text {
        "human" => Ok(LogFormat::Human),
        "json" => Ok(LogFormat::Json),
        _ => Err("expected human or json".to_owned()),
    })?;
    let filter = resolver.required("log_level", parse_filter)?;
    Ok(LogConfig { format, filter })
}

fn parse_filter(text: &str) -> Result<String, String> {
    const EXPECTED: &str =
        "expected error, warn, info, debug or trace, or directives such as info,pgha_raft=debug";
    // A lone word that is no level would be taken for the name of a module, and log nothing.
    let words = ["error", "warn", "info", "debug", "trace", "off"];
    let level_first = text
        .split(',')
        .any(|part| words.contains(&part.to_ascii_lowercase().as_str()));
    let parses = tracing_subscriber::EnvFilter::try_new(text).is_ok();
    if parses && (level_first || text.contains('=')) {
        return Ok(text.to_owned());
    }
    Err(EXPECTED.to_owned())
}

fn parse_millis(
    resolver: &mut Resolver,
    key: &'static str,
    min: u64,
    max: u64,
) -> Result<Duration, ConfigError> {
    let millis = resolver.required(key, |text| {
        let millis = text
            .parse()
            .ok()
            .filter(|millis| (min..=max).contains(millis));
        millis.ok_or_else(|| format!("expected {min} to {max} milliseconds"))
    })?;
    Ok(Duration::from_millis(millis))
}

pub(super) fn parse_bool(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}
