//! What a cluster says of itself, and waiting for it to say so.

use std::time::Duration;

use anyhow::Context;

use super::Cluster;
use crate::history::HistoryEntry;
use crate::status::Status;
use crate::wait;

impl Cluster {
    /// The status as any member tells it.
    pub async fn status(&self) -> anyhow::Result<Status> {
        self.ctl().json(&["status"]).await
    }

    /// The journal as any member tells it.
    pub async fn history(&self) -> anyhow::Result<Vec<HistoryEntry>> {
        self.ctl().json(&["history"]).await
    }

    /// The primary's name, which must be known.
    pub async fn primary(&self) -> anyhow::Result<String> {
        self.status().await?.primary.context("no primary is known")
    }

    /// Waits until the status says that all is well (design 7.2).
    pub async fn wait_healthy(&self, within: Duration) -> anyhow::Result<Status> {
        let names = self.names();
        wait::until("a healthy cluster", within, || async {
            let status = self.status().await?;
            match status.ailment(&names) {
                None => Ok(status),
                Some(ailment) => anyhow::bail!(ailment),
            }
        })
        .await
    }

    /// Waits for a primary that is not `former`; its name.
    pub async fn wait_primary_other_than(
        &self,
        former: &str,
        within: Duration,
    ) -> anyhow::Result<String> {
        wait::until(
            &format!("a primary other than {former}"),
            within,
            || async {
                let primary = self.status().await?.primary.context("no primary")?;
                anyhow::ensure!(primary != former, "still {former}");
                Ok(primary)
            },
        )
        .await
    }
}
