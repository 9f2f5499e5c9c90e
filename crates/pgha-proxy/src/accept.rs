//! The accept loop of one port.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};

use crate::entry::{self, PortKind};
use crate::runtime::{Seat, Worker};
use crate::shared::{Room, Shared};
use crate::stats::count;

/// After a failure for lack of descriptors or memory: retrying at once would only burn a core.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(50);
/// A look at the room even if nobody said that a connection has ended.
const ROOM_CHECK: Duration = Duration::from_millis(100);
/// That there is no room is said no more often than this.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// Accepts until its task is dropped. Runs on the first of `workers`.
pub(crate) async fn accept_loop(
    listener: std::net::TcpListener,
    port: PortKind,
    shared: Arc<Shared>,
    workers: Vec<Arc<Worker>>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut told_at = None;
    loop {
        wait_for_room(&shared, port, &mut told_at).await;
        match listener.accept().await {
            Ok((stream, peer)) => place(stream, peer, port, &shared, &workers),
            Err(error) => pause_after(&error, port, &shared).await,
        }
    }
}

async fn wait_for_room(shared: &Shared, port: PortKind, told_at: &mut Option<Instant>) {
    loop {
        let freed = shared.freed.notified();
        let max = shared.limits.connections_max;
        if shared.connections() < max as u64 {
            return;
        }
        if told_at.is_none_or(|at| at.elapsed() >= TOLD_EVERY) {
            *told_at = Some(Instant::now());
            tracing::warn!(
                max,
                ?port,
                "as many connections as the limit of open files allows: new ones wait in the \
                 kernel's backlog; raise the hard limit (LimitNOFILE of systemd, `ulimit -Hn`)"
            );
        }
        // Woken or not, the count decides.
        let _ = tokio::time::timeout(ROOM_CHECK, freed).await;
    }
}

async fn pause_after(error: &io::Error, port: PortKind, shared: &Shared) {
    // The client was gone before it was accepted: accept(2) says to try again.
    if error.kind() == io::ErrorKind::ConnectionAborted {
        return;
    }
    count(&shared.stats.accept_failures_total);
    tracing::warn!(%error, ?port, "cannot accept; new connections wait in the kernel's backlog");
    tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
}

fn place(
    stream: TcpStream,
    peer: SocketAddr,
    port: PortKind,
    shared: &Arc<Shared>,
    workers: &[Arc<Worker>],
) {
    count(match port {
        PortKind::ReadWrite => &shared.stats.read_write_accepted_total,
        PortKind::ReadOnly => &shared.stats.read_only_accepted_total,
    });
    let quietest = workers
        .iter()
        .enumerate()
        .min_by_key(|(_, worker)| worker.connections());
    let Some((index, worker)) = quietest else {
        return;
    };
    let (seat, room) = (Seat::take(worker), Room::take(shared));
    let (shared, worker) = (Arc::clone(shared), Arc::clone(worker));
    let handle = worker.handle.clone();
    if index == 0 {
        handle.spawn(async move {
            let _counted = (seat, room);
            entry::serve(stream, peer, port, shared, worker).await;
        });
        return;
    }
    // A socket belongs to the event loop of one worker: leave this one here, join that one there.
    let detached = stream.into_std();
    handle.spawn(async move {
        let _counted = (seat, room);
        match detached.and_then(TcpStream::from_std) {
            Ok(client) => entry::serve(client, peer, port, shared, worker).await,
            Err(error) => tracing::warn!(%error, %peer, "cannot watch an accepted connection"),
        }
    });
}
