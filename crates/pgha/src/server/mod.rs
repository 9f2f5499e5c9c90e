//! The local PostgreSQL as the agent handles it: one worker session, one set of managed settings,
//! one job at a time.

mod jobs;
mod prober;
mod start;

use std::collections::{BTreeSet, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pgha_core::decide::{Data, DataCluster, Upstream};
use pgha_core::{ClusterState, Lsn, MemberName, Reason, Settings, SystemIdentifier, TimelineId};
use pgha_postgres::config::{
    self, HbaAddress, HbaOptions, ManagedSettings, ParameterTrust, Passfile, UserParameters,
    check_parameters, write_authentication,
};
use pgha_postgres::control::ClusterState as ControlState;
use pgha_postgres::session::{SessionOptions, SlotSpec};
use pgha_postgres::{
    DataDirectory, Installation, Layout, Marker, Session, SessionError, end_of_wal, timeline,
};
use tokio::sync::{Mutex, MutexGuard};

use crate::config::Config;

pub(crate) use jobs::{JobContext, run_job};
pub(crate) use prober::{ProbeReport, Prober};
pub(crate) use start::StartAs;

/// Statements of the worker that change something may take this long.
const STATEMENT_MAX: Duration = Duration::from_secs(10);
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// The mark in a data directory that a cluster has it: a member that lost its Raft store only must
/// not look as if it never had one.
const MARK_FILE: &str = "pgha.cluster";
/// Says that a data directory was made and never served.
const FRESH_FILE: &str = "pgha.fresh";

/// What does not change while the sidecar runs.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) name: MemberName,
    pub(crate) cluster: String,
    pub(crate) installation: Installation,
    pub(crate) layout: Layout,
    pub(crate) listen: SocketAddr,
    pub(crate) superuser: String,
    pub(crate) replication_user: String,
    pub(crate) direct: bool,
    pub(crate) user_hba: Vec<String>,
}

impl Site {
    pub(crate) fn new(config: &Config, installation: Installation) -> Self {
        let postgres = &config.postgres;
        Self {
            name: config.name.clone(),
            cluster: config.cluster.clone(),
            installation,
            layout: Layout {
                data_dir: postgres.data_dir.clone(),
                run_dir: config.run_dir(),
                conf_dir: config.data_dir.join("conf"),
                socket_dir: postgres.socket_dir.clone(),
            },
            listen: postgres.listen,
            superuser: postgres.superuser.clone(),
            replication_user: postgres.replication_user.clone(),
            direct: postgres.direct,
            user_hba: postgres.hba.clone(),
        }
    }

    pub(crate) fn session_options(&self) -> SessionOptions {
        SessionOptions {
            socket_dir: self.layout.socket_dir.clone(),
            port: self.listen.port(),
            superuser: self.superuser.clone(),
        }
    }

    /// What lies in the data directory. Of a primary that ended a moment ago the end of WAL is read
    /// too, from a position on its timeline that it had flushed. Runs programs: not for the runtime's
    /// threads.
    pub(crate) fn inspect(&self, served: Option<(TimelineId, Lsn)>) -> Data {
        match self.look() {
            Data::Cluster(mut cluster) => {
                if let (None, Some((timeline, from))) = (cluster.shutdown_lsn, served) {
                    let data_dir = &self.layout.data_dir;
                    match end_of_wal(&self.installation, data_dir, timeline, from) {
                        Ok(end) => cluster.end_lsn = Some(end),
                        Err(error) => tracing::warn!(%error, "the end of WAL is not known"),
                    }
                }
                Data::Cluster(cluster)
            }
            other => other,
        }
    }

    fn look(&self) -> Data {
        match Marker::stands(&self.layout.run_dir) {
            Ok(false) => {}
            Ok(true) => return Data::Unfinished,
            Err(error) => {
                tracing::error!(%error, "the marker of an unfinished step cannot be read");
                return Data::Unusable(Reason::DataForeign);
            }
        }
        let found = match DataDirectory::inspect(&self.installation, &self.layout.data_dir) {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(%error, "the data directory cannot be looked into");
                return Data::Unusable(Reason::DataForeign);
            }
        };
        match found {
            DataDirectory::Missing | DataDirectory::Empty => Data::Missing,
            DataDirectory::OtherMajor { .. } => Data::Unusable(Reason::MajorVersionDiffers),
            DataDirectory::NotPostgres { .. } | DataDirectory::ForeignOwner { .. } => {
                Data::Unusable(Reason::DataForeign)
            }
            // A control file that cannot be believed: nothing to start, and nothing to rewind.
            DataDirectory::Damaged { reason } => {
                tracing::error!(reason, "the data directory is damaged and will be cloned");
                Data::Unfinished
            }
            DataDirectory::Cluster(cluster) => Data::Cluster(self.cluster(&cluster)),
        }
    }

    fn cluster(&self, cluster: &pgha_postgres::Cluster) -> DataCluster {
        let control = &cluster.control;
        let own = control.newest_timeline();
        let newest = timeline::newest_history(&self.layout.data_dir)
            .ok()
            .flatten();
        DataCluster {
            system_identifier: control.system_identifier,
            timeline: own,
            shutdown_lsn: (control.state == ControlState::ShutDown).then_some(control.checkpoint),
            end_lsn: None,
            redo_lsn: control.redo,
            history_ahead: newest.is_some_and(|newest| newest > own),
            was_primary: matches!(
                control.state,
                ControlState::InProduction | ControlState::ShuttingDown | ControlState::ShutDown
            ),
            never_served: self.layout.data_dir.join(FRESH_FILE).exists(),
        }
    }

    fn mark_path(&self) -> PathBuf {
        self.layout.data_dir.join(MARK_FILE)
    }

    /// Whether the data directory says that a cluster has it.
    pub(crate) fn is_marked(&self) -> bool {
        self.mark_path().exists()
    }

    /// Says in the data directory that this cluster has it.
    pub(crate) fn mark(&self, state: &ClusterState) {
        let text = format!("{}\n", state.cluster_id);
        if std::fs::read_to_string(self.mark_path()).is_ok_and(|found| found == text) {
            return;
        }
        if let Err(error) = std::fs::write(self.mark_path(), text) {
            tracing::warn!(%error, path = %self.mark_path().display(), "cannot mark the data directory");
        }
    }

    /// Says in a new data directory that there is nothing in it.
    pub(crate) fn mark_fresh(&self) -> std::io::Result<()> {
        std::fs::write(self.layout.data_dir.join(FRESH_FILE), "")
    }

    /// It is about to serve.
    fn unmark_fresh(&self) -> std::io::Result<()> {
        match std::fs::remove_file(self.layout.data_dir.join(FRESH_FILE)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => std::fs::File::open(&self.layout.data_dir)?.sync_all(),
        }
    }

    /// The system identifier of the data directory, if there is a usable one.
    pub(crate) fn system_identifier(&self) -> Option<SystemIdentifier> {
        match self.look() {
            Data::Cluster(cluster) => Some(cluster.system_identifier),
            Data::Unknown | Data::Missing | Data::Unfinished | Data::Unusable(_) => None,
        }
    }

    /// Has PostgreSQL itself judge the parameters: one that it refuses keeps it from its next start.
    pub(crate) async fn check_parameters(&self, settings: &Settings) -> anyhow::Result<()> {
        let parameters =
            UserParameters::parse(&settings.postgres_parameters, ParameterTrust::DataOnly)?;
        let data_dir = &self.layout.data_dir;
        check_parameters(&self.installation, data_dir, &parameters, STATEMENT_MAX).await?;
        Ok(())
    }

    /// Writes the generated files that depend on who the members are. True where they changed.
    pub(crate) fn write_access(&self, state: &ClusterState) -> anyhow::Result<bool> {
        std::fs::create_dir_all(&self.layout.conf_dir)?;
        let before = std::fs::read(self.layout.hba_file()).ok();
        let members: BTreeSet<HbaAddress> = state
            .data_members()
            .filter_map(|(_, member)| member.addresses.postgres.rsplit_once(':'))
            .map(|(host, _)| host.parse())
            .collect::<Result<_, _>>()?;
        let options = HbaOptions {
            system_user: pgha_postgres::effective_user_name().unwrap_or_default(),
            superuser: self.superuser.clone(),
            replication_user: self.replication_user.clone(),
            members: members.into_iter().collect(),
            direct: self.direct,
            user_lines: self.user_hba.clone(),
        };
        write_authentication(&self.layout, &options)?;
        let passfile = Passfile {
            user: &self.replication_user,
            password: &state.replication_secret,
        };
        passfile.write(&self.layout.passfile())?;
        Ok(before != std::fs::read(self.layout.hba_file()).ok())
    }
}

/// The worker: everything that changes something in PostgreSQL takes its turn here.
#[derive(Clone)]
pub(crate) struct Worker {
    site: Arc<Site>,
    desk: Arc<Mutex<Desk>>,
}

/// What the one at work has in hand.
pub(crate) struct Desk {
    site: Arc<Site>,
    session: Option<Session>,
    pub(crate) settings: ManagedSettings,
}

impl Worker {
    pub(crate) fn new(site: Arc<Site>) -> Self {
        let desk = Desk {
            site: Arc::clone(&site),
            session: None,
            settings: ManagedSettings::default(),
        };
        Self {
            site,
            desk: Arc::new(Mutex::new(desk)),
        }
    }

    pub(crate) fn site(&self) -> &Arc<Site> {
        &self.site
    }

    pub(crate) async fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().await
    }

    /// Opens the worker's session ahead of its first use: in a failover eleven milliseconds count.
    pub(crate) fn warm_up(&self) {
        let worker = self.clone();
        tokio::spawn(async move {
            if let Err(error) = worker.desk().await.session().await {
                tracing::debug!(%error, "the worker's session is not open yet");
            }
        });
    }
}

impl Desk {
    /// The session, opened again where it was lost.
    pub(crate) async fn session(&mut self) -> Result<&mut Session, SessionError> {
        if self.session.as_ref().is_none_or(Session::is_closed) {
            self.session = None;
            let opened = Session::connect(&self.site.session_options(), CONNECT_MAX).await?;
            self.session = Some(opened);
        }
        self.session
            .as_mut()
            .ok_or_else(|| SessionError::Refused("no session".to_owned()))
    }

    /// Takes over the cluster's PostgreSQL parameters. Acts at the next start or reload.
    pub(crate) fn set_parameters(&mut self, state: &ClusterState) {
        match UserParameters::parse(
            &state.settings.postgres_parameters,
            ParameterTrust::DataOnly,
        ) {
            Ok(parameters) => self.settings.parameters = parameters,
            Err(error) => {
                tracing::error!(%error, "the cluster's PostgreSQL parameters are not taken");
            }
        }
    }

    /// Applies the managed settings to the running PostgreSQL. Answers what waits for a restart.
    pub(crate) async fn reload(&mut self) -> anyhow::Result<Vec<String>> {
        let site = Arc::clone(&self.site);
        let settings = self.settings.clone();
        let session = self.session().await?;
        let report = session
            .apply(&site.layout.data_dir, &settings, STATEMENT_MAX)
            .await?;
        for name in &report.refused {
            tracing::warn!(name, "PostgreSQL does not accept this parameter's value");
        }
        Ok(report.pending_restart)
    }

    /// Has exactly these slots of ours.
    pub(crate) async fn keep_slots(&mut self, names: &[String]) -> Result<(), SessionError> {
        let wanted: Vec<SlotSpec> = names
            .iter()
            .map(|name| SlotSpec {
                name: name.clone(),
                keep_from: None,
            })
            .collect();
        let keep = names.iter().cloned().collect();
        let session = self.session().await?;
        session.ensure_slots(&wanted, STATEMENT_MAX).await?;
        session
            .drop_slots_except("pgha_", &keep, STATEMENT_MAX)
            .await?;
        Ok(())
    }

    /// The addresses from which clients are logged in.
    pub(crate) async fn logged_in(&mut self) -> Result<HashSet<SocketAddr>, SessionError> {
        self.session().await?.logged_in(STATEMENT_MAX).await
    }

    /// The replication role with the cluster's secret, and the superuser's password.
    pub(crate) async fn ensure_roles(&mut self, state: &ClusterState) -> Result<(), SessionError> {
        let name = self.site.replication_user.clone();
        let session = self.session().await?;
        session
            .ensure_replication_role(&name, &state.replication_secret, STATEMENT_MAX)
            .await
    }

    /// Points the receiver to an upstream.
    pub(crate) async fn follow(&mut self, upstream: &Upstream) -> anyhow::Result<()> {
        let wanted = self.upstream(upstream)?;
        let data_dir = self.site.layout.data_dir.clone();
        let mut settings = self.settings.clone();
        let session = self.session().await?;
        session
            .set_upstream(&data_dir, &mut settings, Some(wanted), STATEMENT_MAX)
            .await?;
        self.settings = settings;
        Ok(())
    }

    /// An upstream as PostgreSQL's settings name it.
    fn upstream(&self, upstream: &Upstream) -> anyhow::Result<config::Upstream> {
        let (host, port) = upstream
            .address
            .rsplit_once(':')
            .ok_or_else(|| anyhow::anyhow!("{} has no port", upstream.address))?;
        Ok(config::Upstream {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: port.parse()?,
            user: self.site.replication_user.clone(),
            application_name: self.site.name.0.clone(),
            slot: Some(upstream.slot.clone()),
            passfile: self.site.layout.passfile(),
        })
    }

    pub(crate) fn pin(&mut self, timeline: Option<TimelineId>) {
        use pgha_postgres::config::RecoveryTimeline;
        self.settings.recovery_timeline =
            timeline.map_or(RecoveryTimeline::Latest, RecoveryTimeline::Pinned);
    }
}
