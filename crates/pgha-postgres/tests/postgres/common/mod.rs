//! Real PostgreSQL servers for tests: one temporary directory each, free ports, loopback only, and
//! nothing left running.

mod node;
mod run;
mod wait;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use pgha_core::{Epoch, Secret};
use pgha_postgres::config::{ParameterTrust, UserParameters};
use pgha_postgres::{InitdbOptions, Installation};
use tokio_postgres::Client;

pub(crate) use self::node::Node;
pub(crate) use self::run::{SMALL_DISK, run, run_on_small_disk};
pub(crate) use self::wait::{caught_up, until};

pub(crate) const LIMIT: Duration = Duration::from_secs(20);
pub(crate) const REPLICATION: &str = "pgha_replication";
pub(crate) const PASSWORD: &str = "se:cr\\et '\"";

/// That in `PGHA_PG_BIN_DIR`, or the newest.
pub(crate) fn installation() -> Installation {
    let chosen = std::env::var_os("PGHA_PG_BIN_DIR").map(PathBuf::from);
    Installation::find(chosen.as_deref()).unwrap()
}

pub(crate) fn initdb_options() -> InitdbOptions {
    InitdbOptions {
        superuser: "postgres".into(),
        password: Secret::new(PASSWORD.to_owned()),
        locale: "C.UTF-8".into(),
        epoch: Epoch(1),
        stall_limit: LIMIT,
    }
}

pub(crate) fn parameters(pairs: &[(&str, &str)]) -> UserParameters {
    let map: BTreeMap<_, _> = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    UserParameters::parse(&map, ParameterTrust::MayRunCode).unwrap()
}

pub(crate) async fn count(client: &Client, table: &str) -> i64 {
    client
        .query_one(&format!("SELECT count(*) FROM {table}"), &[])
        .await
        .unwrap()
        .get(0)
}
