//! The managed settings: what PostgreSQL is given by file, at its start or by a reload.

use std::sync::Arc;

use pgha_core::decide::Upstream;
use pgha_core::settings::PARAMETER_PREFIX;
use pgha_core::{ClusterState, TimelineId};
use pgha_postgres::config::{self, ParameterTrust, UserParameters};

use super::{Desk, STATEMENT_MAX};

impl Desk {
    /// Takes over the cluster's PostgreSQL parameters. Acts at the next start or reload.
    pub(crate) fn set_parameters(&mut self, state: &ClusterState) {
        let given = &state.settings.postgres_parameters;
        // They were checked before they were stored, but perhaps by a version that refused less.
        let (taken, refused) = UserParameters::sift(given, ParameterTrust::DataOnly);
        for error in refused {
            let name = &error.name;
            tracing::warn!(
                "{error}; it is not applied, the others are: pgha-ctl settings set --unset {PARAMETER_PREFIX}{name}"
            );
        }
        self.settings.parameters = taken;
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
    pub(super) fn upstream(&self, upstream: &Upstream) -> anyhow::Result<config::Upstream> {
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

    pub(super) fn pin(&mut self, timeline: Option<TimelineId>) {
        use pgha_postgres::config::RecoveryTimeline;
        self.settings.recovery_timeline =
            timeline.map_or(RecoveryTimeline::Latest, RecoveryTimeline::Pinned);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{Site, Worker};

    /// As an older version may have stored it.
    #[tokio::test]
    async fn a_bad_parameter_does_not_keep_the_others_out() {
        let dir = tempfile::tempdir().expect("a directory");
        let worker = Worker::new(Arc::new(Site::stand_in(dir.path())));
        let mut state = ClusterState::default();
        for (name, value) in [("archive_command", "cp %p /x"), ("work_mem", "8MB")] {
            let parameters = &mut state.settings.postgres_parameters;
            parameters.insert(name.to_owned(), value.to_owned());
        }
        let mut desk = worker.desk().await;
        desk.set_parameters(&state);
        let taken: Vec<_> = desk.settings.parameters.iter().collect();
        assert_eq!(taken, [("work_mem", "8MB")]);
    }
}
