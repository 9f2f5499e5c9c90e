//! What the worker asks PostgreSQL for in SQL.

use std::collections::HashSet;
use std::net::SocketAddr;

use pgha_core::ClusterState;
use pgha_postgres::SessionError;
use pgha_postgres::session::SlotSpec;

use super::{Desk, STATEMENT_MAX};

impl Desk {
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

    /// The replication role with the cluster's secret.
    pub(crate) async fn ensure_roles(&mut self, state: &ClusterState) -> Result<(), SessionError> {
        let name = self.site.replication_user.clone();
        let session = self.session().await?;
        session
            .ensure_replication_role(&name, &state.replication_secret, STATEMENT_MAX)
            .await
    }
}
