//! A cluster under test.

mod look;
mod members;
mod prepare;
mod reach;

use std::time::Duration;

use crate::account::Account;
use crate::binaries::Binaries;
use crate::certificate::Certificate;
use crate::member::{Member, Part};
use crate::mount::SmallDisk;
use crate::netns::{Network, Relay};
use crate::options::ClusterOptions;
use crate::ports::Ports;
use crate::scratch::Scratch;

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
    /// Relays that members were put behind.
    pub relays: Vec<(String, Relay)>,
    /// The network, where members have namespaces.
    pub network: Option<Network>,
    /// PostgreSQL's certificate, where it has one.
    pub certificate: Option<Certificate>,
    /// Ports for what a test adds.
    pub ports: Ports,
    /// Small disks that members were moved to.
    pub disks: Vec<(String, SmallDisk)>,
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

    /// Says that the test passed: the logs need not be shown, the directory need not be kept.
    pub fn finish(mut self) {
        self.finished = true;
    }

    /// Says that the logs are for whoever looks for them: nothing is shown, the directory is kept.
    pub fn give_up(mut self) {
        self.scratch.keep();
        self.finished = true;
    }

    /// Freezes or thaws must never outlive a test.
    fn thaw_all(&self) {
        for member in &self.members {
            let _nothing_there = member.thaw(Part::Node);
        }
    }

    fn print_logs(&self) {
        for member in &self.members {
            eprintln!(
                "---- {} ({}), last lines:",
                member.name,
                member.log.display()
            );
            eprintln!("{}", member.log_tail(30));
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
