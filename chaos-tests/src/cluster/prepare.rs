//! Everything that a cluster needs before its processes start.

use super::{Cluster, PASSWORD};
use crate::account::Account;
use crate::binaries::Binaries;
use crate::certificate::Certificate;
use crate::member::Member;
use crate::netns::Network;
use crate::options::{Addresses, ClusterOptions};
use crate::ports::Ports;
use crate::scratch::Scratch;

impl Cluster {
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
            relays: Vec::new(),
            network,
            certificate,
            ports: Ports::reserve()?,
            disks: Vec::new(),
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
}
