//! What does not change of the local PostgreSQL while the sidecar runs.

use std::net::SocketAddr;

use pgha_core::MemberName;
use pgha_postgres::config::{CheckError, UserParameters, check_parameters};
use pgha_postgres::session::SessionOptions;
use pgha_postgres::{Installation, Layout};

use super::STATEMENT_MAX;
use crate::config::Config;

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

    /// Has PostgreSQL itself judge the parameters: one that it refuses keeps it from its next start.
    pub(crate) async fn check_parameters(
        &self,
        parameters: &UserParameters,
    ) -> Result<(), CheckError> {
        let data_dir = &self.layout.data_dir;
        check_parameters(&self.installation, data_dir, parameters, STATEMENT_MAX).await
    }
}

#[cfg(test)]
impl Site {
    /// In an empty directory, with a PostgreSQL that is not there.
    pub(crate) fn stand_in(dir: &std::path::Path) -> Self {
        let layout = Layout {
            data_dir: dir.join("postgres"),
            run_dir: dir.join("run"),
            conf_dir: dir.join("conf"),
            socket_dir: dir.join("run"),
        };
        std::fs::create_dir(&layout.data_dir).expect("a directory");
        std::fs::create_dir(&layout.run_dir).expect("a directory");
        Self {
            name: "n1".into(),
            cluster: "main".to_owned(),
            installation: Installation {
                bin_dir: "/nonexistent".into(),
                version: pgha_postgres::Version {
                    major: 15,
                    minor: 0,
                },
            },
            layout,
            listen: "127.0.0.1:5433".parse().expect("an address"),
            superuser: "postgres".to_owned(),
            replication_user: "replicator".to_owned(),
            direct: false,
            user_hba: Vec::new(),
        }
    }
}
