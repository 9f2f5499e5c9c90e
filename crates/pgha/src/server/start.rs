//! What the guard needs to start PostgreSQL.

use std::collections::BTreeMap;

use anyhow::Context as _;
use pgha_core::TimelineId;
use pgha_core::decide::Upstream;
use pgha_guard::{Start, StartRole};
use pgha_postgres::config::{
    StartOptions, StartRole as Limits, install, postgres_command, refuse_unfinished,
};
use pgha_postgres::{ControlData, prepare_primary, prepare_standby, timeline};

use super::{Site, Worker};

/// Variables that PostgreSQL gets from the sidecar's environment; nothing else, as there may be
/// secrets in it.
const ENV_KEPT: [&str; 6] = [
    "HOME",
    "LD_LIBRARY_PATH",
    "PATH",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZ",
];

/// What PostgreSQL is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StartAs {
    Primary,
    Standby {
        pinned: Option<TimelineId>,
        /// Rewound data only: it is consistent no sooner than it has that primary's WAL.
        upstream: Option<Upstream>,
    },
}

impl Worker {
    /// Prepares the data directory and the command line, and gives the order. Nobody else has the
    /// directory before it is given.
    pub(crate) async fn start(
        &self,
        start_as: &StartAs,
        role: StartRole,
        order: impl FnOnce(Start) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let _directory = self.directory().await?;
        order(self.plan_start(start_as, role).await?)
    }

    /// The receiver is off in every start: what is in the directory is compared first.
    async fn plan_start(&self, start_as: &StartAs, role: StartRole) -> anyhow::Result<Start> {
        let mut desk = self.desk().await;
        desk.session = None;
        desk.settings.upstream = None;
        match start_as {
            StartAs::Primary => desk.pin(None),
            StartAs::Standby { pinned, upstream } => {
                desk.pin(*pinned);
                desk.settings.upstream = upstream
                    .as_ref()
                    .map(|upstream| desk.upstream(upstream))
                    .transpose()?;
            }
        }
        let settings = desk.settings.clone();
        drop(desk);
        let (site, start_as) = (self.site().clone(), start_as.clone());
        tokio::task::spawn_blocking(move || plan(&site, &settings, &start_as, role))
            .await
            .context("the start was not prepared")?
    }
}

fn plan(
    site: &Site,
    settings: &pgha_postgres::config::ManagedSettings,
    start_as: &StartAs,
    role: StartRole,
) -> anyhow::Result<Start> {
    // First of all: a file that is changed under a rewind is lost, or ends in its result.
    refuse_unfinished(&site.layout)?;
    let data_dir = &site.layout.data_dir;
    let limits = match start_as {
        StartAs::Primary => {
            prepare_primary(data_dir)?;
            site.unmark_fresh()
                .context("cannot take the mark of new data away")?;
            Limits::Primary
        }
        StartAs::Standby { .. } => {
            prepare_standby(data_dir)?;
            let control = ControlData::read(&site.installation, data_dir)?;
            // Numbers blocked for a promotion that never happened would be taken for the target.
            timeline::unblock_timelines(data_dir, control.newest_timeline())?;
            Limits::Standby(control.floor)
        }
    };
    std::fs::create_dir_all(&site.layout.socket_dir)?;
    install(data_dir, settings)?;
    let options = StartOptions {
        listen_addresses: listen_addresses(site.listen.ip()),
        port: site.listen.port(),
        cluster_name: format!("{}/{}", site.cluster, site.name),
        role: limits,
        parameters: settings.parameters.clone(),
    };
    let command = postgres_command(&site.installation, &site.layout, &options)?;
    let mut env: BTreeMap<String, String> = ENV_KEPT
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
        .collect();
    env.insert("LC_ALL".to_owned(), "C.UTF-8".to_owned());
    Ok(Start {
        program: command.program,
        args: command.args,
        env,
        cwd: data_dir.clone(),
        log_path: site.log_path(),
        role,
    })
}

fn listen_addresses(ip: std::net::IpAddr) -> String {
    if ip.is_unspecified() {
        "*".to_owned()
    } else {
        ip.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use pgha_core::Epoch;
    use pgha_postgres::config::INCLUDE_FILE;
    use pgha_postgres::{JobKind, Marker};

    use super::*;

    const STANDBY: StartAs = StartAs::Standby {
        pinned: None,
        upstream: None,
    };
    /// Nothing in these tests takes longer than this unless it is broken.
    const PATIENCE: Duration = Duration::from_secs(15);
    const ROLE: StartRole = StartRole::Standby { epoch: Epoch(1) };

    /// A worker over an empty data directory.
    fn worker(dir: &std::path::Path) -> Worker {
        Worker::new(Arc::new(Site::stand_in(dir)))
    }

    #[tokio::test]
    async fn a_start_waits_for_a_cancelled_job() {
        let dir = tempfile::tempdir().expect("a directory");
        let worker = worker(dir.path());
        let job = worker.directory().await.expect("nobody else");
        let ordered = Cell::new(false);
        let order = |_| {
            ordered.set(true);
            Ok(())
        };
        let mut start = Box::pin(worker.start(&StartAs::Primary, ROLE, order));
        assert!(start.as_mut().now_or_never().is_none());
        assert!(!ordered.get());
        // That it has not ended may also be the preparing. But turns go by the order of asking: the
        // next one is taken if it was the start that waited for it.
        drop(job);
        let turn = worker.directory().now_or_never();
        assert!(turn.is_none(), "the start did not wait for the job");
        start.await.expect("the directory is free");
        assert!(ordered.get());
    }

    #[tokio::test]
    async fn a_start_does_not_wait_for_ever() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut worker = worker(dir.path());
        worker.patience = Duration::from_millis(1);
        let _job = worker.directory().await.expect("nobody else");
        let order = |_| anyhow::bail!("ordered, with a job on the data");
        let start = worker.start(&StartAs::Primary, ROLE, order);
        let start = tokio::time::timeout(PATIENCE, start).await;
        let refused = start.expect("it waits for ever");
        let why = refused.expect_err("it is not free").to_string();
        assert!(why.contains("has not ended"), "{why}");
    }

    #[tokio::test]
    async fn no_job_begins_between_the_look_at_the_marker_and_the_order() {
        let dir = tempfile::tempdir().expect("a directory");
        let worker = worker(dir.path());
        let other = worker.clone();
        let order = |_| {
            let turn = other.directory().now_or_never();
            anyhow::ensure!(turn.is_none(), "a job could begin here");
            Ok(())
        };
        let started = worker.start(&StartAs::Primary, ROLE, order).await;
        started.expect("held until the order is given");
        worker.directory().await.expect("and free afterwards");
    }

    #[tokio::test]
    async fn under_the_marker_nothing_is_written_before_the_start_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let worker = worker(dir.path());
        let layout = &worker.site().layout;
        drop(Marker::begin(&layout.run_dir, JobKind::Rewind, Epoch(1)).expect("a marker"));
        for role in [STANDBY, StartAs::Primary] {
            let refused = worker.start(&role, ROLE, |_| Ok(())).await;
            let why = refused.expect_err("the marker stands").to_string();
            assert!(why.contains("has not finished"), "{why}");
            let found = std::fs::read_dir(&layout.data_dir).expect("a directory");
            assert_eq!(found.count(), 0, "no signal file, no {INCLUDE_FILE}");
        }
    }
}
