//! What is accepted and still worth a word.

use std::path::{Path, PathBuf};

use super::address::HostPort;
use super::error::Source;
use super::layers::Surroundings;
use super::resolver::Resolver;
use super::{Config, secret};

/// Not wrong, but probably not what was meant, or not safe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Warning {
    /// No peers.
    #[error("peers is not set: this is a cluster of one, nothing takes over when it fails")]
    ClusterOfOne,
    /// Two voters.
    #[error(
        "peers lists two members: the loss of either stops writes; add a witness or a third member"
    )]
    TwoVoters,
    /// The others cannot reach what is advertised.
    #[error(
        "{key} is advertised as {address}, which other hosts cannot reach; give this host's address"
    )]
    LoopbackAdvertised {
        /// What is advertised there.
        key: &'static str,
        /// The address.
        address: HostPort,
    },
    /// Logins past the gate.
    #[error(
        "postgres.direct admits logins past the gate: a frozen primary may acknowledge writes there after another took over"
    )]
    Direct,
    /// A secret that others can read.
    #[error("{path:?} holds a secret and can be read by every user of this host; chmod 600 it")]
    ReadableSecret {
        /// The file.
        path: PathBuf,
    },
    /// A variable that nothing reads.
    #[error("environment variable {variable} means nothing to pgha{hint}")]
    UnknownVariable {
        /// The variable.
        variable: String,
        /// `, did you mean ...?` or nothing.
        hint: String,
    },
}

/// All of them, in a fixed order.
pub(super) fn collect(
    config: &Config,
    resolver: &Resolver,
    around: &Surroundings,
    file: Option<&Path>,
) -> Vec<Warning> {
    let mut warnings = around.unknown_variables();
    match config.peers.len() {
        0 => warnings.push(Warning::ClusterOfOne),
        2 => warnings.push(Warning::TwoVoters),
        _ => {}
    }
    if config.postgres.direct {
        warnings.push(Warning::Direct);
    }
    warnings.extend(loopbacks(config));
    warnings.extend(readable_secret(resolver, file));
    warnings
}

/// A cluster on one host, for a try, is all loopback; a mixture is a mistake.
fn loopbacks(config: &Config) -> Vec<Warning> {
    if config
        .peers
        .iter()
        .all(|(_, address)| address.is_loopback())
    {
        return Vec::new();
    }
    let advertised = &config.advertised;
    let all = [
        ("listen", &advertised.raft),
        ("postgres.listen", &advertised.postgres),
        ("http.listen", &advertised.http),
        ("proxy.read_write", &advertised.proxy_read_write),
        ("proxy.read_only", &advertised.proxy_read_only),
    ];
    let unreachable = all.into_iter().filter(|(_, address)| address.is_loopback());
    unreachable
        .map(|(key, address)| Warning::LoopbackAdvertised {
            key,
            address: address.clone(),
        })
        .collect()
}

fn readable_secret(resolver: &Resolver, file: Option<&Path>) -> Option<Warning> {
    let in_config = resolver.source("postgres.superuser_password") == Source::File;
    let own_file = resolver
        .text("postgres.superuser_password_file")
        .map(Path::new);
    let path = if in_config { file } else { own_file }?;
    secret::readable_by_others(path).then(|| Warning::ReadableSecret {
        path: path.to_owned(),
    })
}
