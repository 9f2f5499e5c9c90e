//! A member that is started where something stands in its way, beside a cluster that must not notice.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use crate::cluster::Cluster;
use crate::footprint::Footprint;
use crate::refusal::{self, Refusal};
use crate::wait;

const WITHIN: Duration = Duration::from_secs(60);

/// A cluster with one replica that was stopped in peace.
pub struct Scene {
    /// All three members.
    pub cluster: Cluster,
    /// The stopped one.
    pub name: String,
    /// Who stays primary.
    pub primary: String,
}

impl Scene {
    /// Starts it.
    pub async fn new() -> anyhow::Result<Self> {
        let mut cluster = Cluster::start(3).await?;
        let primary = cluster.primary().await?;
        let name = cluster.names().into_iter().find(|name| *name != primary);
        let name = name.context("three members")?;
        cluster.member_mut(&name)?.stop(WITHIN).await?;
        let port = cluster.read_write(&primary)?;
        port.run("CREATE TABLE went_on (n int)").await?;
        Ok(Self {
            cluster,
            name,
            primary,
        })
    }

    /// Of the stopped member.
    pub fn directory(&self) -> anyhow::Result<PathBuf> {
        Ok(self.cluster.member(&self.name)?.directory.clone())
    }

    /// PostgreSQL's, of the stopped member.
    pub fn postgres(&self) -> anyhow::Result<PathBuf> {
        Ok(self.cluster.member(&self.name)?.postgres_directory())
    }

    /// `pgha run` as that member with other values for some flags.
    pub async fn run(&self, name: &str, others: &[(&str, &str)]) -> anyhow::Result<Refusal> {
        let mut flags = self.cluster.member(name)?.flags.clone();
        for (flag, value) in others {
            match flags.iter().position(|word| word == flag) {
                Some(at) => *value_after(&mut flags, at)? = (*value).to_owned(),
                None => flags.extend([(*flag).to_owned(), (*value).to_owned()]),
            }
        }
        let arguments = [vec!["run".to_owned()], flags].concat();
        let account = &self.cluster.account;
        refusal::run(account, &self.cluster.binaries.pgha, &arguments).await
    }

    /// The stopped member is refused, touches nothing of its own, and nobody else notices.
    pub async fn refused(
        &self,
        code: i32,
        others: &[(&str, &str)],
        words: &[&str],
    ) -> anyhow::Result<()> {
        let directory = self.directory()?;
        let before = Footprint::of(&directory)?;
        let refusal = self.run(&self.name, others).await?;
        let context = || format!("{others:?} {words:?}");
        let said = refusal.ends_with(code, words);
        said.and_then(|()| before.is_unchanged(&directory))
            .map_err(|error| error.context(context()))?;
        self.goes_on().await
    }

    /// Asked of PostgreSQL: the same primary still takes writes, and the other replica gets them.
    pub async fn goes_on(&self) -> anyhow::Result<()> {
        let status = self.cluster.status().await?;
        anyhow::ensure!(status.primary.as_ref() == Some(&self.primary), "{status:?}");
        let direct = self.cluster.direct(&self.primary)?;
        let rows: i64 = direct.value("SELECT count(*) FROM went_on").await?;
        let mut others = self.cluster.names().into_iter();
        let other = others.find(|name| *name != self.primary && *name != self.name);
        let other = other.context("three members")?;
        let port = self.cluster.read_write(&other)?;
        port.run("INSERT INTO went_on VALUES (1)").await?;
        let replica = self.cluster.direct(&other)?;
        wait::until("the row on the other replica", WITHIN, || async {
            let now: i64 = replica.value("SELECT count(*) FROM went_on").await?;
            anyhow::ensure!(now == rows + 1, "{now} rows");
            Ok(())
        })
        .await
    }

    /// Nothing was lost by all the refusals: as it is, the member comes back.
    pub async fn returns(mut self) -> anyhow::Result<()> {
        self.cluster.member_mut(&self.name)?.start()?;
        self.cluster.wait_healthy(WITHIN).await?;
        let primary = self
            .cluster
            .ends_in_one_primary_and_all_streaming(WITHIN)
            .await?;
        anyhow::ensure!(primary == self.primary, "the primary moved to {primary}");
        let history = self.cluster.history().await?;
        anyhow::ensure!(history.len() == 1, "the primary moved: {history:?}");
        self.cluster.finish();
        Ok(())
    }
}

fn value_after(flags: &mut [String], at: usize) -> anyhow::Result<&mut String> {
    flags.get_mut(at + 1).context("every flag has a value")
}
