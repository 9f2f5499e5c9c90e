//! Members in network namespaces of their own, joined by a bridge in a namespace of its own, so
//! that links can be cut without touching the machine's network.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context;
use nix::sched::{CloneFlags, setns};

use crate::skip;

mod cut;
mod network;
mod relay;

pub use cut::{Cut, Way};
pub use network::Network;
pub use relay::Relay;

/// PostgreSQL's own port in every namespace.
pub const POSTGRES: u16 = 5433;
/// The sidecars' gRPC port in every namespace.
pub const RAFT: u16 = 7400;
/// The read-write port in every namespace.
pub const READ_WRITE: u16 = 5432;
/// The read-only port in every namespace.
pub const READ_ONLY: u16 = 7432;

/// Why a test that needs namespaces cannot run, if so. Tests print it and end: see [`skipped`].
pub fn obstacle() -> Option<String> {
    static FOUND: OnceLock<Option<String>> = OnceLock::new();
    FOUND.get_or_init(look_for_obstacle).clone()
}

fn look_for_obstacle() -> Option<String> {
    if !nix::unistd::Uid::effective().is_root() {
        return Some("network namespaces need root".to_owned());
    }
    let missing = ["ip", "nft", "nsenter", "setpriv"]
        .into_iter()
        .find(|tool| Command::new(tool).arg("--version").output().is_err());
    if let Some(tool) = missing {
        return Some(format!("`{tool}` is missing: run deploy/dev/install.sh"));
    }
    // In a container root may lack what this takes.
    let name = format!("pgha{}probe", std::process::id());
    let added = run(&format!("ip netns add {name}"));
    let tried = added.and_then(|_| {
        let cuts = run(&format!("ip netns exec {name} nft add table bridge cut"));
        let removed = run(&format!("ip netns del {name}"));
        cuts.and(removed)
    });
    tried.err().map(|error| format!("{error:#}"))
}

/// True, and said on the terminal, where `test` cannot run here.
pub fn skipped(test: &str) -> bool {
    let Some(reason) = obstacle() else {
        return false;
    };
    skip::say(test, reason);
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

    /// Listens inside; the socket stays in the namespace whoever uses it later.
    pub fn listen(&self, at: SocketAddr) -> std::io::Result<TcpListener> {
        self.inside(move || TcpListener::bind(at))
    }

    /// Connects from inside; the socket stays in the namespace whoever uses it later.
    pub fn connect(&self, to: SocketAddr, within: Duration) -> std::io::Result<TcpStream> {
        self.inside(move || TcpStream::connect_timeout(&to, within))
    }

    fn inside<T: Send + 'static>(
        &self,
        act: impl FnOnce() -> std::io::Result<T> + Send + 'static,
    ) -> std::io::Result<T> {
        let path = self.path.clone();
        // A thread that joined a namespace cannot lend itself to others again: it ends here.
        std::thread::spawn(move || {
            setns(std::fs::File::open(path)?, CloneFlags::CLONE_NEWNET)?;
            act()
        })
        .join()
        .unwrap_or_else(|_| Err(std::io::Error::other("the thread inside panicked")))
    }
}

/// Connects from a namespace, or from where this process is.
pub async fn stream(
    namespace: Option<&Namespace>,
    to: SocketAddr,
    within: Duration,
) -> std::io::Result<tokio::net::TcpStream> {
    let Some(namespace) = namespace.cloned() else {
        let stream = tokio::net::TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        return Ok(stream);
    };
    let stream = tokio::task::spawn_blocking(move || namespace.connect(to, within))
        .await
        .map_err(std::io::Error::other)??;
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    tokio::net::TcpStream::from_std(stream)
}

/// What the command printed.
fn run(line: &str) -> anyhow::Result<String> {
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
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
