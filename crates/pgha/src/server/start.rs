//! What the guard needs to start PostgreSQL.

use std::collections::BTreeMap;

use anyhow::Context as _;
use pgha_core::TimelineId;
use pgha_core::decide::Upstream;
use pgha_guard::{Start, StartRole};
use pgha_postgres::config::{StartOptions, StartRole as Limits, install, postgres_command};
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
    /// Prepares the data directory and the command line. The receiver is off in every start: what
    /// is in the directory is compared first.
    pub(crate) async fn plan_start(
        &self,
        start_as: &StartAs,
        role: StartRole,
    ) -> anyhow::Result<Start> {
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
