//! How a test speaks to a cluster: the control program and the ports.

use anyhow::Context;

use super::{Cluster, PASSWORD};
use crate::ctl::Ctl;
use crate::sql::{Target, Tls};

impl Cluster {
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
}
