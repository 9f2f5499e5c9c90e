//! Latency: the connections of one host pass a relay that holds every byte back for a while.
//!
//! The kernel at hand has no `netem`. Connections between the daemons of a host and other hosts are
//! redirected, in the host's namespace, to a relay that makes the real ones; those that are there
//! already are not, so the daemons have to be started after it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::{Namespace, Network, POSTGRES, RAFT, READ_ONLY, READ_WRITE};

/// Where the relay listens in the host's namespace.
const PORT: u16 = 9_999;
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const PIECE: usize = 1 << 16;
/// Pieces that are held at a time in one direction of one connection.
const PIECES_MAX: usize = 1 << 10;

/// The relay of one host; until [`Relay::set`] it holds nothing back.
#[derive(Debug)]
pub struct Relay {
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    delay_ms: AtomicU64,
    /// Pieces that were held back.
    held: AtomicU64,
}

impl Relay {
    /// Takes every connection that the account makes from the host to another one, or another host
    /// makes to it, from now on.
    pub fn begin(network: &Network, host: usize, uid: u32) -> anyhow::Result<Self> {
        let namespace = network.host(host).clone();
        let listener = namespace.listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)))?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let ports = format!("tcp dport {{ {RAFT}, {READ_WRITE}, {READ_ONLY}, {POSTGRES} }}");
        let own = Network::address(host);
        let nat = |hook: &str, rule: &str| {
            let chain = format!("{{ type nat hook {hook} priority -100 ; }}");
            network.nft_in(host, &format!("add chain ip relay {hook} {chain}"))?;
            let rule = format!("add rule ip relay {hook} {rule} {ports} redirect to :{PORT}");
            network.nft_in(host, &rule)
        };
        network.nft_in(host, "add table ip relay")?;
        nat(
            "output",
            &format!("meta skuid {uid} ip daddr 10.77.0.0/24 ip daddr != {own}"),
        )?;
        nat("prerouting", "iifname eth0")?;
        let state = Arc::<State>::default();
        let task = tokio::spawn(accept(listener, namespace, Arc::clone(&state)));
        Ok(Self { state, task })
    }

    /// Holds every byte back for so long, in each direction, and up to a quarter more.
    pub fn set(&self, delay: Duration) {
        let ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.state.delay_ms.store(ms, Ordering::Relaxed);
    }

    /// How many pieces were held back so far.
    pub fn held(&self) -> u64 {
        self.state.held.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    /// When what has come now may go on, after what may go on at `before`.
    fn due(&self, before: Instant) -> Instant {
        let ms = self.delay_ms.load(Ordering::Relaxed);
        if ms == 0 {
            return before.max(Instant::now());
        }
        self.held.fetch_add(1, Ordering::Relaxed);
        let jitter = rand::random_range(0..=ms / 4);
        before.max(Instant::now() + Duration::from_millis(ms + jitter))
    }
}

async fn accept(listener: TcpListener, namespace: Namespace, state: Arc<State>) {
    // Dropped with the task, and all connections with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(relay(stream, namespace.clone(), Arc::clone(&state)));
        while connections.try_join_next().is_some() {}
    }
}

/// A connection that cannot be made ends the one that asked for it.
async fn relay(from: TcpStream, namespace: Namespace, state: Arc<State>) {
    let Ok(to) = getsockopt(&from, sockopt::OriginalDst) else {
        return;
    };
    let address = Ipv4Addr::from(u32::from_be(to.sin_addr.s_addr));
    let to = SocketAddr::from((address, u16::from_be(to.sin_port)));
    let _faster = from.set_nodelay(true);
    let Ok(to) = super::stream(Some(&namespace), to, CONNECT_WITHIN).await else {
        return;
    };
    let ((from_read, from_write), (to_read, to_write)) = (from.into_split(), to.into_split());
    tokio::join!(
        pump(from_read, to_write, &state),
        pump(to_read, from_write, &state)
    );
}

async fn pump(mut from: OwnedReadHalf, to: OwnedWriteHalf, state: &State) {
    let (pieces, held) = mpsc::channel(PIECES_MAX);
    let read = async move {
        let mut due = Instant::now();
        let mut piece = vec![0; PIECE];
        // An end, too, comes late; an empty piece says so.
        loop {
            let length = from.read(&mut piece).await.unwrap_or(0);
            due = state.due(due);
            let sent = pieces.send((due, piece[..length].to_vec())).await;
            if length == 0 || sent.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write(held, to));
}

async fn write(mut held: mpsc::Receiver<(Instant, Vec<u8>)>, mut to: OwnedWriteHalf) {
    while let Some((due, piece)) = held.recv().await {
        tokio::time::sleep_until(due).await;
        if piece.is_empty() || to.write_all(&piece).await.is_err() {
            break;
        }
    }
    let _gone = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::skipped;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn bytes_come_late_both_ways() -> anyhow::Result<()> {
        const DELAY: Duration = Duration::from_millis(300);
        if skipped("bytes_come_late_both_ways") {
            return Ok(());
        }
        let network = Network::new(2)?;
        let at = SocketAddr::new(Network::address(0), RAFT);
        let listener = network.host(0).listen(at)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let relay = Relay::begin(&network, 0, 0)?;
        let mut client = super::super::stream(Some(network.host(1)), at, CONNECT_WITHIN).await?;
        let (mut server, _) = listener.accept().await?;
        let mut byte = [0];
        for delay in [Duration::ZERO, DELAY] {
            relay.set(delay);
            let began = Instant::now();
            client.write_all(b"1").await?;
            server.read_exact(&mut byte).await?;
            server.write_all(b"2").await?;
            client.read_exact(&mut byte).await?;
            assert_eq!(&byte, b"2");
            assert!(began.elapsed() >= delay * 2, "{:?}", began.elapsed());
        }
        assert_eq!(relay.held(), 2);
        Ok(())
    }
}
