//! A sidecar's own configuration: read once, parsed into values that are known to be good.
//!
//! What belongs to the whole cluster is not here but in the replicated settings.

mod address;
mod error;
mod file;
mod flags;
mod hba;
mod initial;
mod keys;
mod layers;
mod listeners;
mod names;
mod parse;
mod peers;
mod postgres;
mod report;
mod resolver;
mod secret;
mod warning;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use pgha_core::{Addresses, MemberName, Settings};

pub(crate) use error::ConfigError;
pub(crate) use flags::ConfigArgs;
pub(crate) use layers::Surroundings;
pub(crate) use listeners::{Advertised, Listeners};
pub(crate) use parse::{LogConfig, LogFormat};
pub(crate) use peers::PeerList;
pub(crate) use postgres::PostgresConfig;
pub(crate) use report::{ReportFormat, report};
pub(crate) use resolver::Effective;
pub(crate) use warning::Warning;

/// Everything that a sidecar knows about itself before it starts.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Name of the cluster.
    pub(crate) cluster: String,
    /// Name of this member.
    pub(crate) name: MemberName,
    /// Directory of the sidecar, absolute.
    pub(crate) data_dir: PathBuf,
    /// Where the sidecar itself listens.
    pub(crate) listeners: Listeners,
    /// What others are told.
    pub(crate) advertised: Advertised,
    /// Members of a new cluster, this one included; empty for a cluster of one.
    pub(crate) peers: PeerList,
    /// Whether it votes only.
    pub(crate) witness: bool,
    /// The PostgreSQL of this member.
    pub(crate) postgres: PostgresConfig,
    /// Settings of a new cluster, valid one by one and together.
    pub(crate) initial: Settings,
    /// The lease is not renewed once the loop stood still for so long.
    pub(crate) agent_stall: Duration,
    /// PostgreSQL counts as hung once its probe failed, or no new client was let in (which takes seven seconds to be seen), for so long.
    pub(crate) primary_hang: Duration,
    /// How to log.
    pub(crate) log: LogConfig,
    /// What is accepted and still worth a word.
    pub(crate) warnings: Vec<Warning>,
    /// Each key with the value in force and who gave it, in the order of the reference.
    pub(crate) effective: Vec<Effective>,
}

impl Config {
    /// Reads the file, if one is named, and parses all sources. Nothing else is touched.
    pub(crate) fn load(args: &ConfigArgs, around: &Surroundings) -> Result<Self, ConfigError> {
        let named = around
            .variables
            .get(layers::CONFIG_VARIABLE)
            .map(PathBuf::from);
        let path = args.file.clone().or(named);
        let values = path
            .as_deref()
            .map(file::read)
            .transpose()?
            .unwrap_or_default();
        let given = layers::merge(args, around, values);
        parse::parse(given, around, path.as_deref())
    }

    /// What the cluster is told about this member.
    pub(crate) fn addresses(&self) -> Addresses {
        Addresses::from(&self.advertised)
    }

    /// Raft's store.
    pub(crate) fn raft_dir(&self) -> PathBuf {
        self.data_dir.join(RAFT_DIR)
    }

    /// Process ids, locks and, unless set otherwise, PostgreSQL's socket.
    pub(crate) fn run_dir(&self) -> PathBuf {
        self.data_dir.join(RUN_DIR)
    }
}

const RAFT_DIR: &str = "raft";
const RUN_DIR: &str = "run";

/// PostgreSQL refuses root, and so does everything that starts it.
pub(crate) fn refuse_root(effective_user: nix::unistd::Uid) -> Result<(), ConfigError> {
    if effective_user.is_root() {
        return Err(ConfigError::Root);
    }
    Ok(())
}

/// Whether one directory is the other or lies in it.
fn overlaps(left: &Path, right: &Path) -> bool {
    left.starts_with(right) || right.starts_with(left)
}
