//! One direction of a session.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::gate::Pass;

/// How far a direction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A socket failed.
    Broken,
    /// The source has closed, and all it said was passed on.
    Finished,
    /// The gate shut before a write.
    Shut,
    /// Nothing to read, or no room to write; the task is woken when that changes.
    Waiting,
}

#[derive(Default)]
pub(super) struct Flow {
    /// What was read and could not be written yet.
    pending: Vec<u8>,
    /// How much of `pending` was written.
    written: usize,
    source_closed: bool,
    closed: bool,
}

impl Flow {
    pub(super) fn with(pending: Vec<u8>) -> Self {
        Self {
            pending,
            ..Self::default()
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Moves bytes until there is nothing to read or no room to write.
    ///
    /// A read that does not fill the buffer tells the runtime that the socket is empty, so the
    /// next one costs no system call. The runtime's budget ends the loop of a session that never
    /// runs dry.
    pub(super) fn pump(
        &mut self,
        cx: &mut Context<'_>,
        (from, to): (&mut TcpStream, &mut TcpStream),
        pass: &Pass,
        scratch: &mut [u8],
        mut seen: impl FnMut(&[u8]),
    ) -> Step {
        loop {
            if !self.pending.is_empty()
                && let Some(step) = self.flush(cx, to, pass)
            {
                return step;
            }
            if self.source_closed {
                return self.close(cx, to);
            }
            let mut buffer = ReadBuf::new(scratch);
            match Pin::new(&mut *from).poll_read(cx, &mut buffer) {
                Poll::Pending => return Step::Waiting,
                Poll::Ready(Err(_)) => return Step::Broken,
                Poll::Ready(Ok(())) => {}
            }
            let chunk = buffer.filled();
            if chunk.is_empty() {
                self.source_closed = true;
                continue;
            }
            seen(chunk);
            match write(cx, to, pass, chunk) {
                Written::All => {}
                Written::Only(count) => self.pending = chunk[count..].to_vec(),
                Written::Not(step) => return step,
            }
        }
    }

    /// Writes `words` after everything else and closes this direction, as far as that goes without
    /// waiting.
    pub(super) fn finish_with(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut TcpStream,
        pass: &Pass,
        words: &[u8],
    ) -> Step {
        match write(cx, to, pass, words) {
            Written::All | Written::Only(_) => self.close(cx, to),
            Written::Not(step) => step,
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>, to: &mut TcpStream, pass: &Pass) -> Option<Step> {
        loop {
            match write(cx, to, pass, &self.pending[self.written..]) {
                Written::All => {
                    // Given back: an idle session owns no buffer.
                    self.pending = Vec::new();
                    self.written = 0;
                    return None;
                }
                Written::Only(0) => return Some(Step::Waiting),
                Written::Only(count) => self.written += count,
                Written::Not(step) => return Some(step),
            }
        }
    }

    fn close(&mut self, cx: &mut Context<'_>, to: &mut TcpStream) -> Step {
        if !self.closed {
            self.closed = true;
            if let Poll::Ready(Err(error)) = Pin::new(to).poll_shutdown(cx)
                && error.kind() != io::ErrorKind::NotConnected
            {
                return Step::Broken;
            }
        }
        Step::Finished
    }
}

enum Written {
    All,
    /// So many; the task is woken when there is room for more, if it tries again.
    Only(usize),
    Not(Step),
}

fn write(cx: &mut Context<'_>, to: &mut TcpStream, pass: &Pass, bytes: &[u8]) -> Written {
    // The rule of P1: the clock is read here, immediately before the write.
    if !pass.may_pass() {
        return Written::Not(Step::Shut);
    }
    match Pin::new(to).poll_write(cx, bytes) {
        Poll::Ready(Ok(count)) if count == bytes.len() => Written::All,
        Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => Written::Not(Step::Broken),
        Poll::Ready(Ok(count)) => Written::Only(count),
        Poll::Pending => Written::Only(0),
    }
}
