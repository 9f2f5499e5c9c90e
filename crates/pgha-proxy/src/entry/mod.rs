//! From an accepted connection to a session: read what the client says first, find somebody who
//! answers it, hold it while there is nobody.

mod attempt;
mod balance;
mod cancel;
mod first_bytes;
mod plan;
mod reach;
mod refuse;
mod startup;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

pub(crate) use balance::{Balancer, LoadTicket};
pub(crate) use startup::StartupLimit;

use crate::gate::{Login, Pass};
use crate::preamble::{ForwardKind, Preamble};
use crate::protocol::{FirstPacket, NO_ENCRYPTION};
use crate::relay::{Relay, Visibility};
use crate::runtime::Worker;
use crate::shared::Shared;
use crate::stats::count;
use attempt::Failed;
use first_bytes::{Client, Unread};
use startup::StartupSlot;

/// Clients speak as soon as they are connected; who takes longer counts as silent.
const PROMPT: Duration = Duration::from_millis(250);

/// Which of the two ports a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PortKind {
    /// Leads to the primary.
    ReadWrite,
    /// Leads to a replica.
    ReadOnly,
}

impl PortKind {
    fn forward_kind(self) -> ForwardKind {
        match self {
            Self::ReadWrite => ForwardKind::ReadWrite,
            Self::ReadOnly => ForwardKind::ReadOnly,
        }
    }
}

/// A server that has answered.
pub(crate) struct Reached {
    pub(crate) server: TcpStream,
    /// The first bytes of its answer, not yet passed on.
    pub(crate) answer: Vec<u8>,
    pub(crate) pass: Pass,
    /// Where the server is the local PostgreSQL.
    pub(crate) login: Option<Login>,
    pub(crate) load: Option<LoadTicket>,
}

/// Why no session came of a connection.
enum End {
    /// A cancel request was passed on, or had nowhere to go.
    Cancelled,
    /// The client left.
    Gone,
    /// Another sidecar's connection that this one may not serve: closed before any byte.
    NotForwarded,
    /// Waited in vain. The message and the packet tell how to answer.
    Refused { packet: FirstPacket, why: String },
    /// Not PostgreSQL's protocol, or too slow.
    Rejected(Unread),
}

/// Serves one connection to its end.
pub(crate) async fn serve(
    client: TcpStream,
    peer: SocketAddr,
    port: PortKind,
    shared: Arc<Shared>,
    worker: Arc<Worker>,
) {
    // Boxed, because its state is many times that of the relay, which may live for weeks.
    if let Some(relay) = Box::pin(admit(client, peer, port, shared, worker)).await {
        relay.await;
    }
}

async fn admit(
    client: TcpStream,
    peer: SocketAddr,
    port: PortKind,
    shared: Arc<Shared>,
    worker: Arc<Worker>,
) -> Option<Relay> {
    let mut entry = Entry {
        client: Client::new(client),
        port,
        shared,
        worker,
    };
    let end = match entry.admit(peer).await {
        Ok((reached, visibility)) => return Some(entry.into_relay(reached, visibility)),
        Err(end) => end,
    };
    let stats = Arc::clone(&entry.shared.stats);
    match end {
        End::Cancelled | End::Gone => {}
        End::NotForwarded => count(&stats.forward_refused_total),
        End::Refused { packet, why } => {
            count(&stats.refused_total);
            tracing::debug!(%why, "connection refused");
            refuse::refuse(&mut entry.client, packet, &why, &entry.shared.limits).await;
        }
        End::Rejected(reason) => {
            count(&stats.rejected_total);
            tracing::debug!(%reason, "connection rejected");
        }
    }
    None
}

struct Entry {
    client: Client,
    port: PortKind,
    shared: Arc<Shared>,
    worker: Arc<Worker>,
}

impl Entry {
    async fn admit(&mut self, peer: SocketAddr) -> Result<(Reached, Visibility), End> {
        let (packet, size) = self.first_of_all(peer).await?;
        if let FirstPacket::Forward(preamble) = packet {
            self.client.forget(size);
            return self.admit_forwarded(preamble).await;
        }
        if packet == FirstPacket::Cancel {
            cancel::pass_on(self.client.kept(), self.port, &self.shared).await;
            return Err(End::Cancelled);
        }
        self.negotiate(packet, size).await
    }

    /// Reaches a server; goes round once more for each offer of encryption that it declines, so
    /// that the startup message that follows can still be held and repeated.
    async fn negotiate(
        &mut self,
        mut packet: FirstPacket,
        mut size: usize,
    ) -> Result<(Reached, Visibility), End> {
        let mut declined = None;
        // GSSAPI, then TLS, then plain: no client has more to ask.
        for _ in 0..3 {
            let reached = reach::reach(self, packet, declined.take()).await?;
            if !is_declined(packet, &reached.answer) {
                let visibility = visibility(packet, self.client.kept(), size);
                return Ok((reached, visibility));
            }
            self.client
                .answer(&reached.answer, &reached.pass, &self.shared.limits)
                .await?;
            self.client.forget(size);
            declined = Some(reached);
            (packet, size) = self.first_packet().await?;
            match packet {
                FirstPacket::Cancel => {
                    cancel::pass_on(self.client.kept(), self.port, &self.shared).await;
                    return Err(End::Cancelled);
                }
                FirstPacket::Forward(_) => return Err(End::NotForwarded),
                FirstPacket::DirectTls
                | FirstPacket::GssEncryption
                | FirstPacket::Ssl
                | FirstPacket::Startup => {}
            }
        }
        Err(End::Rejected(Unread::TooManyOffers))
    }

    /// One attempt and no holding: the other sidecar holds its client, and a forwarded connection
    /// is never forwarded again.
    async fn admit_forwarded(&mut self, preamble: Preamble) -> Result<(Reached, Visibility), End> {
        let (packet, size) = self.first_packet().await?;
        let target = plan::forwarded(&self.shared, self.port, &preamble, packet);
        let candidate = target.ok_or(End::NotForwarded)?;
        if packet == FirstPacket::Cancel {
            cancel::send(self.client.kept(), candidate, &self.shared).await;
            return Err(End::Cancelled);
        }
        match attempt::attempt(&mut self.client, candidate, &self.shared).await {
            Ok(reached) => {
                count(&self.shared.stats.forwarded_in_total);
                let visibility = visibility(packet, self.client.kept(), size);
                Ok((reached, visibility))
            }
            Err(Failed::Client) => Err(End::Gone),
            Err(Failed::Server(why)) => {
                tracing::debug!(%why, "forwarded connection not served");
                Err(End::NotForwarded)
            }
        }
    }

    /// The very first packet. Whoever does not send it along with the connection takes one of its
    /// address's places: a crowd that reconnects after a failover is not silent and needs none.
    async fn first_of_all(&mut self, peer: SocketAddr) -> Result<(FirstPacket, usize), End> {
        if let Ok(prompt) = timeout(PROMPT, self.first_packet()).await {
            return prompt;
        }
        let Some(_slot) = StartupSlot::take(&self.shared.startups, peer.ip()) else {
            return Err(End::Rejected(Unread::TooManySilent));
        };
        self.first_packet().await
    }

    async fn first_packet(&mut self) -> Result<(FirstPacket, usize), End> {
        let limit = self.shared.limits.startup_timeout;
        self.client
            .first_packet(limit)
            .await
            .map_err(|unread| match unread {
                Unread::Closed => End::Gone,
                Unread::Late(_)
                | Unread::NotPostgres(_)
                | Unread::TooManyOffers
                | Unread::TooManySilent => End::Rejected(unread),
            })
    }

    fn into_relay(self, reached: Reached, visibility: Visibility) -> Relay {
        Relay::new(self.client.into_stream(), reached, visibility, &self.worker)
    }
}

fn is_declined(packet: FirstPacket, answer: &[u8]) -> bool {
    matches!(packet, FirstPacket::Ssl | FirstPacket::GssEncryption) && answer == [NO_ENCRYPTION]
}

/// What the relay can see of a session whose client began with `packet`.
fn visibility(packet: FirstPacket, kept: &[u8], size: usize) -> Visibility {
    match packet {
        FirstPacket::Startup => Visibility::plain(kept.get(size..).unwrap_or_default()),
        FirstPacket::Cancel
        | FirstPacket::DirectTls
        | FirstPacket::Forward(_)
        | FirstPacket::GssEncryption
        | FirstPacket::Ssl => Visibility::Hidden,
    }
}
