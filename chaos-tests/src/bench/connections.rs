//! Memory for idle connections through the read-write port.

use std::time::Duration;

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::bench::{Figure, Unit};
use crate::cluster::Cluster;
use crate::options::ClusterOptions;
use crate::process;
use crate::sql::Session;

const SESSIONS: usize = 2000;
/// At a time, so that PostgreSQL's backlog is not what is measured.
const BATCH: usize = 20;
const CONNECT_WITHIN: Duration = Duration::from_secs(30);

pub(super) async fn measure() -> anyhow::Result<Vec<Figure>> {
    // The daemon and this client need two and one descriptors for each session.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let options =
        ClusterOptions::new(1).initial("postgres.parameters.max_connections", SESSIONS + 100);
    let cluster = Cluster::start_with(options).await?;
    let sidecar = cluster.members[0].sidecar_pid()?;
    let port = cluster.read_write("n1")?;
    // Whatever a first connection makes once is not a connection's own.
    let _warm = port.connect(CONNECT_WITHIN).await?;
    let resident = || {
        process::memory(sidecar)
            .map(|memory| memory.resident)
            .context("memory")
    };
    let before = resident()?;
    let mut sessions: Vec<Session> = Vec::with_capacity(SESSIONS);
    while sessions.len() < SESSIONS {
        let batch = (0..BATCH).map(|_| port.connect(CONNECT_WITHIN));
        sessions.extend(futures_util::future::try_join_all(batch).await?);
    }
    let each = resident()?.saturating_sub(before) as f64 / SESSIONS as f64;
    for session in [sessions.first(), sessions.last()].into_iter().flatten() {
        session.value::<i32>("SELECT 1").await?;
    }
    drop(sessions);
    cluster.finish();
    let title = "memory for each of 2,000 idle proxied connections";
    Ok(vec![
        Figure::new(title, Unit::Bytes, vec![each])
            .below(Some(16.0 * 1024.0), None)
            .note("growth of the sidecar's resident memory; the aim is 4 KiB"),
    ])
}
