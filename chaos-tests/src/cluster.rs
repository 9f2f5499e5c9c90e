//! A cluster under test.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;

use crate::account::Account;
use crate::binaries::Binaries;
use crate::certificate::Certificate;
use crate::ctl::Ctl;
use crate::history::HistoryEntry;
use crate::member::{Member, Part};
use crate::netns::Network;
use crate::options::{Addresses, ClusterOptions};
use crate::ports::Ports;
use crate::scratch::Scratch;
use crate::sql::{Target, Tls};
use crate::status::Status;
use crate::wait;

/// Empty directories to healthy, on a machine that is busy with other tests.
pub const FORMED_WITHIN: Duration = Duration::from_secs(60);
/// The superuser's password of every cluster under test.
const PASSWORD: &str = "chaos-superuser";

/// Members, where they are, and how to speak to them. Ends everything it started when dropped, and
/// prints the logs unless [`Cluster::finish`] was called.
pub struct Cluster {
    /// In the order of their names, n1 first.
    pub members: Vec<Member>,
    /// The account of the daemons.
    pub account: Account,
    /// The programs, where the account can reach them.
    pub binaries: Binaries,
    /// The network, where members have namespaces.
    pub network: Option<Network>,
    /// PostgreSQL's certificate, where it has one.
    pub certificate: Option<Certificate>,
    /// Ports for what a test adds.
    pub ports: Ports,
    /// Removed last.
    pub scratch: Scratch,
    finished: bool,
}

impl Cluster {
    /// `members` members on loopback, started and healthy.
    pub async fn start(members: usize) -> anyhow::Result<Self> {
        Self::start_with(ClusterOptions::new(members)).await
    }

    /// Started and healthy.
    pub async fn start_with(options: ClusterOptions) -> anyhow::Result<Self> {
        let mut cluster = Self::prepare(options)?;
        for member in &mut cluster.members {
            member.start()?;
        }
        cluster.wait_healthy(FORMED_WITHIN).await?;
        Ok(cluster)
    }

    /// Everything but the processes.
    pub fn prepare(options: ClusterOptions) -> anyhow::Result<Self> {
        let account = Account::detect()?;
        let scratch = Scratch::new(&account)?;
        let binaries = Binaries::find()?.reachable(scratch.path())?;
        let network = options
            .namespaces
            .then(|| Network::new(options.members))
            .transpose()?;
        let certificate = options
            .tls
            .then(|| Certificate::make(scratch.path(), &account))
            .transpose()?;
        account.file(&scratch.path().join("password"), PASSWORD.as_bytes(), 0o600)?;
        let mut cluster = Self {
            members: Vec::new(),
            account,
            binaries,
            network,
            certificate,
            ports: Ports::reserve()?,
            scratch,
            finished: false,
        };
        cluster.add_members(&options)?;
        Ok(cluster)
    }

    fn add_members(&mut self, options: &ClusterOptions) -> anyhow::Result<()> {
        let mut places = Vec::new();
        for index in 0..options.members {
            places.push(match &self.network {
                None => Addresses::on_loopback(&mut self.ports)?,
                Some(_) => Addresses::in_namespace(index),
            });
        }
        let peers: Vec<String> = places
            .iter()
            .enumerate()
            .map(|(i, at)| format!("n{}={}", i + 1, at.raft))
            .collect();
        for (index, at) in places.into_iter().enumerate() {
            let name = format!("n{}", index + 1);
            let directory = self.scratch.path().join(&name);
            self.account.directory(&directory, 0o700)?;
            let mut flags = self.flags(&name, &directory, at, options);
            if options.members > 1 {
                flags.extend(["--peers".to_owned(), peers.join(",")]);
            }
            let namespace = self
                .network
                .as_ref()
                .map(|network| network.host(index).clone());
            let program = &self.binaries.pgha;
            self.members.push(Member::new(
                &name,
                directory,
                at,
                flags,
                program,
                &self.account,
                namespace,
            ));
        }
        Ok(())
    }

    fn flags(
        &self,
        name: &str,
        directory: &std::path::Path,
        at: Addresses,
        options: &ClusterOptions,
    ) -> Vec<String> {
        let password = self.scratch.path().join("password");
        let mut flags: Vec<String> = [
            ("--cluster", options.cluster.clone()),
            ("--name", name.to_owned()),
            ("--data-dir", directory.display().to_string()),
            ("--listen", at.raft.to_string()),
            ("--advertise", at.raft.to_string()),
            ("--http-listen", at.http.to_string()),
            ("--proxy-rw", at.read_write.to_string()),
            ("--proxy-ro", at.read_only.to_string()),
            ("--pg-listen", at.postgres.to_string()),
            (
                "--pg-superuser-password-file",
                password.display().to_string(),
            ),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect();
        let settings = self.certificate.iter().flat_map(Certificate::settings);
        for (key, value) in settings.chain(options.initial.clone()) {
            flags.extend(["--initial".to_owned(), format!("{key}={value}")]);
        }
        flags.extend(options.flags.clone());
        flags
    }

    /// The names of all members.
    pub fn names(&self) -> BTreeSet<String> {
        self.members
            .iter()
            .map(|member| member.name.clone())
            .collect()
    }

    /// Index of the member of that name.
    pub fn index(&self, name: &str) -> anyhow::Result<usize> {
        let found = self.members.iter().position(|member| member.name == name);
        found.with_context(|| format!("no member is called {name}"))
    }

    /// The member of that name.
    pub fn member(&self, name: &str) -> anyhow::Result<&Member> {
        Ok(&self.members[self.index(name)?])
    }

    /// The member of that name, to do something to.
    pub fn member_mut(&mut self, name: &str) -> anyhow::Result<&mut Member> {
        let index = self.index(name)?;
        Ok(&mut self.members[index])
    }

    /// `pgha-ctl` with every member as endpoint, from where clients sit.
    pub fn ctl(&self) -> Ctl {
        Ctl {
            program: self.binaries.pgha_ctl.clone(),
            endpoints: self
                .members
                .iter()
                .map(|m| m.addresses.raft.to_string())
                .collect(),
            namespace: self
                .network
                .as_ref()
                .map(|network| network.client().clone()),
        }
    }

    /// `pgha-ctl` with one member as endpoint.
    pub fn ctl_of(&self, name: &str) -> anyhow::Result<Ctl> {
        Ok(self
            .ctl()
            .through(&self.member(name)?.addresses.raft.to_string()))
    }

    /// The status as any member tells it.
    pub async fn status(&self) -> anyhow::Result<Status> {
        self.ctl().json(&["status"]).await
    }

    /// The journal as any member tells it.
    pub async fn history(&self) -> anyhow::Result<Vec<HistoryEntry>> {
        self.ctl().json(&["history"]).await
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

    /// The primary's name, which must be known.
    pub async fn primary(&self) -> anyhow::Result<String> {
        self.status().await?.primary.context("no primary is known")
    }

    fn target(&self, address: std::net::SocketAddr) -> Target {
        Target {
            address,
            namespace: self
                .network
                .as_ref()
                .map(|network| network.client().clone()),
            password: PASSWORD.to_owned(),
            tls: None,
        }
    }

    /// The read-write port of a member, from where clients sit.
    pub fn read_write(&self, name: &str) -> anyhow::Result<Target> {
        Ok(self.target(self.member(name)?.addresses.read_write))
    }

    /// The read-only port of a member, from where clients sit.
    pub fn read_only(&self, name: &str) -> anyhow::Result<Target> {
        Ok(self.target(self.member(name)?.addresses.read_only))
    }

    /// PostgreSQL of a member itself, from the member's own host: only from there it lets in.
    pub fn direct(&self, name: &str) -> anyhow::Result<Target> {
        let member = self.member(name)?;
        let namespace = member.namespace.clone();
        Ok(Target {
            namespace,
            ..self.target(member.addresses.postgres)
        })
    }

    /// TLS that trusts PostgreSQL's certificate.
    pub fn tls(&self) -> anyhow::Result<Tls> {
        let certificate = self
            .certificate
            .as_ref()
            .context("this cluster has no TLS")?;
        Tls::trusting(&certificate.certificate)
    }

    /// The read-write ports of all members but those named.
    pub fn read_write_except(&self, except: &[&str]) -> anyhow::Result<Vec<Target>> {
        let wanted = self
            .members
            .iter()
            .filter(|m| !except.contains(&m.name.as_str()));
        wanted.map(|member| self.read_write(&member.name)).collect()
    }

    /// Starts every member whose sidecar does not run, as a service manager would.
    pub fn restart_fallen(&mut self) -> anyhow::Result<()> {
        for member in &mut self.members {
            if !member.is_up() {
                member.start()?;
            }
        }
        Ok(())
    }

    /// Freezes or thaws must never outlive a test.
    fn thaw_all(&self) {
        for member in &self.members {
            let _nothing_there = member.thaw(Part::Node);
        }
    }

    /// Says that the test passed: the logs need not be shown, the directory need not be kept.
    pub fn finish(mut self) {
        self.finished = true;
    }

    fn print_logs(&self) {
        for member in &self.members {
            eprintln!(
                "---- {} ({}), last lines:",
                member.name,
                member.log.display()
            );
            eprintln!("{}", member.log_tail(80));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.finished {
            self.print_logs();
            self.scratch.keep();
        }
        self.thaw_all();
        // Their processes end here, before the network and the directory that they use.
        self.members.clear();
    }
}
