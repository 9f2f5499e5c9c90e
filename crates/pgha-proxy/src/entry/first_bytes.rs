//! The client before it has a server: its first bytes are kept, so that they can be said again to
//! another server.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::End;
use crate::gate::Pass;
use crate::limits::Limits;
use crate::protocol::{FIRST_BYTES_MAX, FirstPacket, ProtocolError, parse_first_packet};

/// First packets are small; a longer one is read in several steps.
const READ_BYTES: usize = 1024;

/// Why a client's first packet was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unread {
    #[error("the client left")]
    Closed,
    #[error("no first packet within {0:?}")]
    Late(Duration),
    #[error(transparent)]
    NotPostgres(#[from] ProtocolError),
    #[error("the client asked for encryption again and again")]
    TooManyOffers,
    #[error("its address has too many silent connections")]
    TooManySilent,
}

pub(super) struct Client {
    stream: TcpStream,
    kept: Vec<u8>,
}

impl Client {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            kept: Vec::new(),
        }
    }

    /// All that the client said and no server has dealt with.
    pub(super) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Drops what has been dealt with.
    pub(super) fn forget(&mut self, bytes: usize) {
        self.kept.drain(..bytes.min(self.kept.len()));
    }

    /// Drops the first packet, whatever it is.
    pub(super) fn forget_first_packet(&mut self) {
        if let Ok(Some((_, size))) = parse_first_packet(&self.kept) {
            self.forget(size);
        }
    }

    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Reads until the first packet is complete.
    pub(super) async fn first_packet(
        &mut self,
        limit: Duration,
    ) -> Result<(FirstPacket, usize), Unread> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(found) = parse_first_packet(&self.kept)? {
                return Ok(found);
            }
            match timeout_at(deadline, self.read_more()).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return Err(Unread::Closed),
                Err(_) => return Err(Unread::Late(limit)),
            }
        }
    }

    /// Waits for more and keeps it, even where the wait is given up; never more than the longest first packet. The end of the
    /// stream is an error: no client closes its half before it is served.
    pub(super) async fn read_more(&mut self) -> io::Result<usize> {
        let room = FIRST_BYTES_MAX
            .saturating_sub(self.kept.len())
            .min(READ_BYTES);
        if room == 0 {
            // It may go on when it has a server; until then the kernel holds what it says.
            return std::future::pending().await;
        }
        loop {
            self.stream.readable().await?;
            let mut buffer = [0; READ_BYTES];
            match self.stream.try_read(&mut buffer[..room]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.kept.extend_from_slice(&buffer[..count]);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Passes a server's answer on before there is a session.
    pub(super) async fn answer(
        &self,
        bytes: &[u8],
        pass: &Pass,
        limits: &Limits,
    ) -> Result<(), End> {
        let writing = write_all(&self.stream, bytes, || pass.may_pass());
        match tokio::time::timeout(limits.answer_timeout, writing).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }

    /// Says something of the proxy's own.
    pub(super) async fn say(&self, bytes: &[u8], limit: Duration) -> io::Result<()> {
        match tokio::time::timeout(limit, write_all(&self.stream, bytes, || true)).await {
            Ok(said) => said,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Writes all of `bytes`, asking `may_pass` immediately before each write. The caller sets the
/// deadline.
pub(super) async fn write_all(
    stream: &TcpStream,
    mut bytes: &[u8],
    may_pass: impl Fn() -> bool,
) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        if !may_pass() {
            return Err(io::Error::other("the gate is shut"));
        }
        match stream.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
