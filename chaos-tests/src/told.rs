//! What a cluster tells about what is wrong, in words for people, and whether the rest goes on.

use std::net::SocketAddr;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::ctl::one_line;
use crate::member::Member;
use crate::status::Status;
use crate::wait;

const WITHIN: Duration = Duration::from_secs(90);

/// What people see: the reason, its meaning and the particulars on one line.
pub fn said_in_one_line(table: &str, start: &str, words: &[&str]) -> anyhow::Result<()> {
    let line = table.lines().find(|line| line.contains(start));
    one_line(line.unwrap_or_default(), &[&[start], words].concat())
}

impl Cluster {
    /// Waits until the member at `address` says that it waits for this before it joins a cluster.
    pub async fn waits_for(
        &self,
        address: SocketAddr,
        reason: &str,
        words: &[&str],
    ) -> anyhow::Result<()> {
        let ctl = self.ctl().through(&address.to_string());
        wait::until(reason, WITHIN, || async {
            let status: Status = ctl.json(&["status"]).await?;
            anyhow::ensure!(status.reason.as_deref() == Some(reason), "{status:?}");
            anyhow::ensure!(status.epoch.is_none() && status.primary.is_none());
            one_line(&status.detail.unwrap_or_default(), words)?;
            said_in_one_line(&ctl.done(&["status"]).await?.stdout, reason, words)
        })
        .await
    }

    /// Waits until the cluster shows this state and reason of a member.
    pub async fn shows(
        &self,
        name: &str,
        (state, reason): (&str, &str),
        words: &[&str],
    ) -> anyhow::Result<()> {
        wait::until(&format!("{name} {state} {reason}"), WITHIN, || async {
            let status = self.status().await?;
            let member = status.member(name).cloned();
            let seen = member
                .as_ref()
                .map(|member| (member.state.as_str(), member.reason.as_deref()));
            anyhow::ensure!(seen == Some((state, Some(reason))), "{member:?}");
            let table = self.ctl().done(&["status"]).await?.stdout;
            said_in_one_line(&table, &format!("{name}: {reason}: "), words)
        })
        .await
    }

    /// A write through the port of that member arrives.
    pub async fn goes_on(&self, name: &str) -> anyhow::Result<()> {
        let sql = "CREATE TABLE IF NOT EXISTS went_on (n int); INSERT INTO went_on VALUES (1)";
        self.read_write(name)?.run(sql).await
    }

    /// Waits until all is well, asked of PostgreSQL too, with so many changes of primary behind it.
    pub async fn is_whole(&self, changes: usize) -> anyhow::Result<()> {
        self.wait_healthy(WITHIN).await?;
        self.ends_in_one_primary_and_all_streaming(WITHIN).await?;
        let history = self.history().await?;
        anyhow::ensure!(history.len() == changes, "{history:?}");
        Ok(())
    }
}

impl Member {
    /// Fails unless its sidecar runs and has made no PostgreSQL.
    pub fn formed_nothing(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(self.is_up(), "{} gave up", self.name);
        let there = self.postgres_directory().join("PG_VERSION").exists();
        anyhow::ensure!(!there, "{} made a PostgreSQL", self.name);
        Ok(())
    }
}
