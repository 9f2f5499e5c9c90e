//! Members in network namespaces of their own, joined by a bridge in a namespace of its own, so
//! that links can be cut without touching the machine's network.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use nix::sched::{CloneFlags, setns};

/// PostgreSQL's own port in every namespace.
pub const POSTGRES: u16 = 5433;

static SEQUENCE: AtomicU32 = AtomicU32::new(0);

/// Why a test that needs namespaces cannot run, if so. Tests print it and end: see [`skipped`].
pub fn obstacle() -> Option<String> {
    if !nix::unistd::Uid::effective().is_root() {
        return Some("network namespaces need root".to_owned());
    }
    ["ip", "nft", "nsenter", "setpriv"]
        .into_iter()
        .find(|tool| Command::new(tool).arg("--version").output().is_err())
        .map(|tool| format!("`{tool}` is missing: run deploy/dev/install.sh"))
}

/// True, and said on the terminal, where `test` cannot run here.
pub fn skipped(test: &str) -> bool {
    let Some(reason) = obstacle() else {
        return false;
    };
    eprintln!("SKIPPED {test}: {reason}");
    true
}

/// One network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    name: String,
    path: PathBuf,
}

impl Namespace {
    fn named(name: String) -> Self {
        let path = Path::new("/run/netns").join(&name);
        Self { name, path }
    }

    /// The file that names it for `setns`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Connects from inside; the socket stays in the namespace whoever uses it later.
    pub fn connect(&self, to: SocketAddr, within: Duration) -> std::io::Result<TcpStream> {
        let path = self.path.clone();
        // A thread that joined a namespace cannot lend itself to others again: it ends here.
        std::thread::spawn(move || {
            setns(std::fs::File::open(path)?, CloneFlags::CLONE_NEWNET)?;
            TcpStream::connect_timeout(&to, within)
        })
        .join()
        .unwrap_or_else(|_| Err(std::io::Error::other("the connecting thread panicked")))
    }
}

/// A bridge with one port for each host, and one more for clients.
#[derive(Debug)]
pub struct Network {
    bridge: Namespace,
    hosts: Vec<Namespace>,
}

/// Which frames the bridge drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// All from and to the host.
    Host(usize),
    /// All that the host sends.
    From(usize),
    /// All that the host is sent.
    To(usize),
    /// Between two hosts, both ways.
    Between(usize, usize),
    /// Connections to PostgreSQL itself between two hosts, both ways; all else passes.
    Replication(usize, usize),
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
        run(&format!("ip -n {host} link set eth0 up"))
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

    /// Drops frames in the bridge; the links stay up, as with a switch that fails.
    pub fn cut(&self, cut: Cut) -> anyhow::Result<()> {
        let rules = match cut {
            Cut::Host(host) => vec![format!("iifname p{host}"), format!("oifname p{host}")],
            Cut::From(host) => vec![format!("iifname p{host}")],
            Cut::To(host) => vec![format!("oifname p{host}")],
            Cut::Between(one, other) => vec![
                format!("iifname p{one} oifname p{other}"),
                format!("iifname p{other} oifname p{one}"),
            ],
            Cut::Replication(one, other) => [(one, other), (other, one)]
                .into_iter()
                .flat_map(|(from, to)| {
                    ["sport", "dport"].map(|port| {
                        format!(
                            "iifname p{from} oifname p{to} ip protocol tcp tcp {port} {POSTGRES}"
                        )
                    })
                })
                .collect(),
        };
        rules
            .iter()
            .try_for_each(|rule| self.nft(&format!("add rule bridge cut frames {rule} drop")))
    }

    /// Every frame passes again.
    pub fn heal(&self) -> anyhow::Result<()> {
        self.nft("flush chain bridge cut frames")
    }

    fn nft(&self, command: &str) -> anyhow::Result<()> {
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

fn run(line: &str) -> anyhow::Result<()> {
    let mut words = line.split_whitespace();
    let program = words.next().context("an empty command")?;
    let output = Command::new(program)
        .args(words)
        .output()
        .with_context(|| line.to_owned())?;
    anyhow::ensure!(
        output.status.success(),
        "`{line}` failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn listen_in(namespace: &Namespace, at: SocketAddr) -> TcpListener {
        let path = namespace.path().to_owned();
        std::thread::spawn(move || {
            let file = std::fs::File::open(path).expect("the namespace exists");
            setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter it");
            TcpListener::bind(at).expect("nobody else listens there")
        })
        .join()
        .expect("listens")
    }

    #[test]
    fn a_cut_host_is_silent_until_healed() -> anyhow::Result<()> {
        if skipped("a_cut_host_is_silent_until_healed") {
            return Ok(());
        }
        let network = Network::new(2)?;
        let at = SocketAddr::new(Network::address(0), 7000);
        let _listener = listen_in(network.host(0), at);
        let reach = || network.client().connect(at, Duration::from_millis(1500));
        reach()?;
        network.cut(Cut::Host(0))?;
        let refused = reach().expect_err("the bridge drops the frames");
        assert_eq!(refused.kind(), std::io::ErrorKind::TimedOut);
        network.heal()?;
        reach()?;
        // 7000 is not PostgreSQL's port, and a client is not host 1.
        network.cut(Cut::Replication(0, 1))?;
        reach()?;
        let postgres = SocketAddr::new(Network::address(0), POSTGRES);
        let _postgres = listen_in(network.host(0), postgres);
        network
            .client()
            .connect(postgres, Duration::from_millis(1500))?;
        let peer = |at| network.host(1).connect(at, Duration::from_millis(1500));
        peer(at)?;
        let refused = peer(postgres).expect_err("the bridge drops the frames");
        assert_eq!(refused.kind(), std::io::ErrorKind::TimedOut);
        Ok(())
    }
}
