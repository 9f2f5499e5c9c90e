//! The network itself: namespaces, a bridge between them, and what it drops.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;

use super::{Cut, Namespace, obstacle, run};

static SEQUENCE: AtomicU32 = AtomicU32::new(0);

/// A bridge with one port for each host, and one more for clients.
#[derive(Debug)]
pub struct Network {
    bridge: Namespace,
    hosts: Vec<Namespace>,
    /// With the frames that each had dropped when it was made.
    cuts: Mutex<Vec<(Cut, u64)>>,
}

impl Network {
    /// Makes `hosts` namespaces and one for clients, the last.
    pub fn new(hosts: usize) -> anyhow::Result<Self> {
        if let Some(reason) = obstacle() {
            anyhow::bail!(reason);
        }
        let prefix = format!(
            "pgha{}x{}",
            std::process::id(),
            SEQUENCE.fetch_add(1, Ordering::Relaxed)
        );
        let mut network = Self {
            bridge: Namespace::named(format!("{prefix}sw")),
            hosts: Vec::new(),
            cuts: Mutex::default(),
        };
        network.build_bridge()?;
        for index in 0..=hosts {
            let host = Namespace::named(format!("{prefix}h{index}"));
            network.hosts.push(host);
            network.plug(index)?;
        }
        Ok(network)
    }

    fn build_bridge(&self) -> anyhow::Result<()> {
        let name = &self.bridge.name;
        run(&format!("ip netns add {name}"))?;
        run(&format!("ip -n {name} link add br0 type bridge"))?;
        run(&format!("ip -n {name} link set br0 up"))?;
        self.nft("add table bridge cut")?;
        self.nft(
            "add chain bridge cut frames { type filter hook forward priority 0 ; policy accept ; }",
        )
        .map(drop)
    }

    fn plug(&self, index: usize) -> anyhow::Result<()> {
        let (bridge, host) = (&self.bridge.name, &self.hosts[index].name);
        let address = Self::address(index);
        run(&format!("ip netns add {host}"))?;
        run(&format!("ip -n {host} link set lo up"))?;
        run(&format!(
            "ip -n {bridge} link add p{index} type veth peer name eth0 netns {host}"
        ))?;
        run(&format!("ip -n {bridge} link set p{index} master br0 up"))?;
        run(&format!("ip -n {host} addr add {address}/24 dev eth0"))?;
        run(&format!("ip -n {host} link set eth0 up")).map(drop)
    }

    /// The address of a host; the clients' is the one after the last member's.
    pub fn address(index: usize) -> IpAddr {
        let last = u8::try_from(index + 1).unwrap_or(u8::MAX);
        IpAddr::V4(Ipv4Addr::new(10, 77, 0, last))
    }

    /// The namespace of a member.
    pub fn host(&self, index: usize) -> &Namespace {
        &self.hosts[index]
    }

    /// The namespace of clients.
    pub fn client(&self) -> &Namespace {
        self.hosts.last().unwrap_or(&self.bridge)
    }

    /// Drops frames in the bridge; the links stay up, as with a switch that fails. Beside the cuts
    /// that are there.
    pub fn cut(&self, cut: Cut) -> anyhow::Result<()> {
        let name = counter(cut);
        self.nft(&format!("add counter bridge cut {name}"))?;
        let before = self.dropped(cut)?;
        self.cuts().push((cut, before));
        self.load_cuts()
    }

    /// The frames of that cut pass again; how many were dropped by it.
    pub fn mend(&self, cut: Cut) -> anyhow::Result<u64> {
        let (_, before) = {
            let mut cuts = self.cuts();
            let known = cuts.iter().position(|(known, _)| *known == cut);
            cuts.remove(known.with_context(|| format!("{cut:?} is not cut"))?)
        };
        self.load_cuts()?;
        Ok(self.dropped(cut)?.saturating_sub(before))
    }

    /// How many frames such cuts have dropped since the first of them.
    fn dropped(&self, cut: Cut) -> anyhow::Result<u64> {
        let line = format!("list counter bridge cut {}", counter(cut));
        let text = self.nft(&line)?;
        let mut words = text.split_whitespace();
        words
            .find(|word| *word == "packets")
            .and_then(|_| words.next()?.parse().ok())
            .with_context(|| format!("no number of packets in: {text}"))
    }

    /// Every frame passes again.
    pub fn heal(&self) -> anyhow::Result<()> {
        self.cuts().clear();
        self.load_cuts()
    }

    /// All rules at once: nft takes a line of several commands as one transaction.
    fn load_cuts(&self) -> anyhow::Result<()> {
        let mut commands = vec!["flush chain bridge cut frames".to_owned()];
        for (cut, _) in self.cuts().iter() {
            let name = counter(*cut);
            let dropped =
                |rule| format!("add rule bridge cut frames {rule} counter name {name} drop");
            commands.extend(cut.rules().into_iter().map(dropped));
        }
        self.nft(&commands.join(" ; ")).map(drop)
    }

    fn cuts(&self) -> MutexGuard<'_, Vec<(Cut, u64)>> {
        self.cuts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rules in the namespace of a host.
    pub(super) fn nft_in(&self, host: usize, command: &str) -> anyhow::Result<()> {
        let name = &self.host(host).name;
        run(&format!("ip netns exec {name} nft {command}")).map(drop)
    }

    fn nft(&self, command: &str) -> anyhow::Result<String> {
        run(&format!("ip netns exec {} nft {command}", self.bridge.name))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for namespace in self.hosts.iter().chain([&self.bridge]) {
            let _best_effort = run(&format!("ip netns del {}", namespace.name));
        }
    }
}

/// The name of what nft counts; it outlives the rules.
fn counter(cut: Cut) -> String {
    let text = format!("{cut:?}").to_lowercase();
    text.replace(|letter: char| !letter.is_ascii_alphanumeric(), "")
}

#[cfg(test)]
mod tests;
