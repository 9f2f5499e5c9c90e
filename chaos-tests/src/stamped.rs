//! A connection that knows when the kernel received what was read last: a client that gets to run late
//! must not count as one that was answered late.

use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// When the newest bytes came, on the wall clock; shared with whoever waits for an answer.
#[derive(Debug, Clone, Default)]
pub struct Stamp(Arc<AtomicU64>);

/// A TCP connection that keeps a [`Stamp`].
#[derive(Debug)]
pub struct Stamped {
    stream: TcpStream,
    stamp: Stamp,
}

impl Stamp {
    /// When the newest bytes that were read had come.
    pub fn last(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.0.load(Ordering::Acquire))
    }

    fn keep(&self, at: SystemTime) {
        let at = at.duration_since(SystemTime::UNIX_EPOCH);
        let nanos = u64::try_from(at.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX);
        self.0.store(nanos, Ordering::Release);
    }
}

impl Stamped {
    /// Has the kernel stamp what comes from now on.
    pub fn new(stream: TcpStream) -> anyhow::Result<Self> {
        setsockopt(&stream, sockopt::ReceiveTimestampns, &true)?;
        Ok(Self {
            stream,
            stamp: Stamp::default(),
        })
    }

    /// Follows the stamp.
    pub fn stamp(&self) -> Stamp {
        self.stamp.clone()
    }

    /// What came, and when; `None` where the kernel did not note it: it begins to some time after
    /// the first socket of a machine asks.
    fn receive(&self, space: &mut [u8]) -> io::Result<(usize, Option<SystemTime>)> {
        let mut control = nix::cmsg_space!(TimeSpec);
        let mut parts = [IoSliceMut::new(space)];
        let message = recvmsg::<()>(
            self.stream.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::empty(),
        )?;
        let stamped = message.cmsgs()?.find_map(|part| match part {
            ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
            _ => None,
        });
        let at = stamped.map(|since_epoch| SystemTime::UNIX_EPOCH + since_epoch);
        Ok((message.bytes, at))
    }
}

impl AsyncRead for Stamped {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            std::task::ready!(self.stream.poll_read_ready(context))?;
            let space = buffer.initialize_unfilled();
            match self
                .stream
                .try_io(Interest::READABLE, || self.receive(space))
            {
                Ok((read, at)) => {
                    self.stamp.keep(at.unwrap_or_else(SystemTime::now));
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Stamped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn kernel_stamps(client: &Stamped, server: &mut TcpStream) -> anyhow::Result<()> {
        let began = SystemTime::now();
        loop {
            server.write_all(b"0").await?;
            let read = || client.receive(&mut [0]);
            let (_, at) = client.stream.async_io(Interest::READABLE, read).await?;
            if at.is_some() {
                return Ok(());
            }
            let waited = began.elapsed()?;
            anyhow::ensure!(waited < Duration::from_secs(5), "no stamp in {waited:?}");
        }
    }

    #[tokio::test]
    async fn what_is_read_late_has_the_time_of_its_arrival() -> anyhow::Result<()> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let stream = TcpStream::connect(listener.local_addr()?).await?;
        let mut client = Stamped::new(stream)?;
        let (mut server, _) = listener.accept().await?;
        kernel_stamps(&client, &mut server).await?;
        let before = SystemTime::now();
        server.write_all(b"1").await?;
        let sent = SystemTime::now();
        tokio::time::sleep(Duration::from_millis(300)).await;
        client.read_exact(&mut [0]).await?;
        let at = client.stamp().last();
        assert!(at >= before, "{at:?} {before:?}");
        let late = at.duration_since(sent).unwrap_or_default();
        assert!(late < Duration::from_millis(200), "{late:?}");
        Ok(())
    }
}
