//! An established session: bytes both ways, each write behind the gate.
//!
//! One future for both directions, polled when either socket is ready. It owns no buffer while
//! everything it reads can be written at once: all sessions of a worker share one. Only what a
//! slow reader leaves over is kept, and while it is, nothing more is read for that direction.

mod flow;
mod frames;
mod view;

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

pub(crate) use view::Visibility;

use crate::entry::{LoadTicket, Reached};
use crate::gate::{Login, Pass};
use crate::protocol::{ADMIN_SHUTDOWN, error_response};
use crate::runtime::{Registration, Worker};
use crate::socket::reset_on_close;
use crate::stats::count;
use flow::{Flow, Step};

/// Shared by the sessions of one worker. One read of this size empties a socket that a fast
/// server fills.
const SCRATCH_BYTES: usize = 64 * 1024;
/// How long the client of a server that has closed may take to close too.
const LINGER: Duration = Duration::from_secs(2);

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice());
}

/// How a session ended.
enum End {
    /// Both sides closed.
    Closed,
    /// One side was reset or failed: the other is reset too.
    Broken,
    /// The gate shut.
    Cut,
    /// Closed at an idle point because of a handover.
    Drained,
}

pub(crate) struct Relay {
    client: TcpStream,
    server: TcpStream,
    to_server: Flow,
    to_client: Flow,
    pass: Pass,
    /// Until the client has the server's first ReadyForQuery; for good where that is not seen.
    login: Option<Login>,
    visibility: Visibility,
    registration: Registration,
    linger: Option<Pin<Box<Sleep>>>,
    _load: Option<LoadTicket>,
}

impl Relay {
    pub(crate) fn new(
        client: TcpStream,
        reached: Reached,
        visibility: Visibility,
        worker: &Arc<Worker>,
    ) -> Self {
        let Reached {
            server,
            answer,
            pass,
            login,
            load,
        } = reached;
        count(&worker.stats.sessions_total);
        worker.stats.sessions_now.fetch_add(1, Ordering::Relaxed);
        let mut visibility = visibility;
        visibility.server_said(&answer);
        Self {
            client,
            server,
            to_server: Flow::default(),
            to_client: Flow::with(answer),
            pass,
            login,
            visibility,
            registration: Registration::enter(worker),
            linger: None,
            _load: load,
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<End> {
        if self.linger.is_some() {
            return self.linger(cx, scratch);
        }
        let lane = self.registration.worker.lane();
        let visibility = &mut self.visibility;
        let up = self.to_server.pump(
            cx,
            (&mut self.client, &mut self.server),
            &self.pass,
            scratch,
            |chunk| {
                lane.count(false, chunk.len());
                visibility.client_said(chunk);
            },
        );
        let down = self.to_client.pump(
            cx,
            (&mut self.server, &mut self.client),
            &self.pass,
            scratch,
            |chunk| {
                lane.count(true, chunk.len());
                visibility.server_said(chunk);
            },
        );
        match (up, down) {
            (Step::Shut, _) | (_, Step::Shut) => Poll::Ready(End::Cut),
            (Step::Waiting | Step::Finished | Step::Broken, Step::Finished) => {
                // PostgreSQL never closes one direction only. Its last words may still be on
                // their way, and a reset caused by what the client says now would destroy them.
                self.linger = Some(Box::pin(sleep(LINGER)));
                self.login = None;
                self.linger(cx, scratch)
            }
            (Step::Broken, Step::Waiting | Step::Broken)
            | (Step::Waiting | Step::Finished, Step::Broken) => Poll::Ready(End::Broken),
            (Step::Waiting | Step::Finished, Step::Waiting) => {
                if self.visibility.is_ready() && self.to_client.is_empty() {
                    self.login = None;
                }
                self.drain(cx)
            }
        }
    }

    /// At a handover: says good-bye where the session is between transactions.
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let idle = self.pass.is_draining()
            && self.visibility.is_idle()
            && self.to_server.is_empty()
            && self.to_client.is_empty();
        if !idle {
            return Poll::Pending;
        }
        let message = "pgha is moving the primary to another member: connect again";
        let farewell = error_response(ADMIN_SHUTDOWN, message);
        match self
            .to_client
            .finish_with(cx, &mut self.client, &self.pass, &farewell)
        {
            Step::Shut => Poll::Ready(End::Cut),
            Step::Broken | Step::Finished | Step::Waiting => Poll::Ready(End::Drained),
        }
    }

    /// Discards what the client says until it closes.
    fn linger(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<End> {
        loop {
            let mut buffer = ReadBuf::new(scratch);
            match Pin::new(&mut self.client).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(Ok(()) | Err(_)) => return Poll::Ready(End::Closed),
                Poll::Pending => break,
            }
        }
        match &mut self.linger {
            Some(sleep) => sleep.as_mut().poll(cx).map(|()| End::Closed),
            None => Poll::Ready(End::Closed),
        }
    }

    fn end(&self, end: &End) {
        let stats = &self.registration.worker.stats;
        match end {
            End::Closed => {}
            End::Broken => self.reset(),
            End::Cut => {
                count(&stats.cut_total);
                self.reset();
            }
            End::Drained => count(&stats.drained_total),
        }
    }

    fn reset(&self) {
        reset_on_close(&self.client);
        reset_on_close(&self.server);
    }
}

impl Future for Relay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        // Before the pass is looked at: an order that comes in between wakes this task again.
        this.registration.waker.register(cx.waker());
        let end = if this.pass.is_over() {
            Poll::Ready(End::Cut)
        } else {
            SCRATCH.with_borrow_mut(|scratch| this.turn(cx, scratch))
        };
        end.map(|end| this.end(&end))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.registration
            .worker
            .stats
            .sessions_now
            .fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
