//! The threads that move bytes.
//!
//! Each worker is one thread with one event loop, and a session stays with its worker for life:
//! no work stealing, no wake-up across threads, no lock but the worker's own.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::sync::CancellationToken;

use crate::stats::{Lane, Stats};

/// Threads of one worker that resolve names.
const RESOLVER_THREADS_MAX: usize = 4;
/// How long a stopping worker waits for a name that is being resolved.
const STOP_WAIT: Duration = Duration::from_millis(100);

/// The workers. Dropping it stops them and closes what they hold.
pub(crate) struct ProxyRuntime {
    workers: Vec<Arc<Worker>>,
    stop: CancellationToken,
}

impl ProxyRuntime {
    pub(crate) fn start(stats: &Arc<Stats>, count: usize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        // Made first, so that a failure below stops the threads that were already started.
        let mut started = Self {
            workers: Vec::new(),
            stop: stop.clone(),
        };
        for index in 0..count.max(1) {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(RESOLVER_THREADS_MAX)
                .build()?;
            let handle = runtime.handle().clone();
            let stop = stop.clone();
            std::thread::Builder::new()
                .name(format!("pgha-proxy-{index}"))
                .spawn(move || drive(runtime, &stop))?;
            started
                .workers
                .push(Arc::new(Worker::new(handle, Arc::clone(stats), index)));
        }
        Ok(started)
    }

    pub(crate) fn workers(&self) -> &[Arc<Worker>] {
        &self.workers
    }

    /// Has every session look at its pass, which was closed or is to be drained.
    pub(crate) fn wake_sessions(&self) {
        self.workers
            .iter()
            .for_each(|worker| worker.wake_sessions());
    }
}

impl Drop for ProxyRuntime {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn drive(runtime: Runtime, stop: &CancellationToken) {
    runtime.block_on(stop.cancelled());
    runtime.shutdown_timeout(STOP_WAIT);
}

/// One thread and the sessions it carries.
pub(crate) struct Worker {
    pub(crate) handle: Handle,
    pub(crate) stats: Arc<Stats>,
    index: usize,
    connections: AtomicUsize,
    sessions: Mutex<HashMap<u64, Arc<AtomicWaker>>>,
    next: AtomicU64,
}

impl Worker {
    fn new(handle: Handle, stats: Arc<Stats>, index: usize) -> Self {
        Self {
            handle,
            stats,
            index,
            connections: AtomicUsize::new(0),
            sessions: Mutex::default(),
            next: AtomicU64::new(0),
        }
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn lane(&self) -> &Lane {
        self.stats.lane(self.index)
    }

    fn wake_sessions(&self) {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.values().for_each(|waker| waker.wake());
    }
}

/// A connection in the count of its worker.
pub(crate) struct Seat(Arc<Worker>);

impl Seat {
    pub(crate) fn take(worker: &Arc<Worker>) -> Self {
        worker.connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(worker))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A session that can be woken from outside.
pub(crate) struct Registration {
    pub(crate) worker: Arc<Worker>,
    pub(crate) waker: Arc<AtomicWaker>,
    key: u64,
}

impl Registration {
    pub(crate) fn enter(worker: &Arc<Worker>) -> Self {
        let key = worker.next.fetch_add(1, Ordering::Relaxed);
        let waker = Arc::new(AtomicWaker::new());
        let mut sessions = worker
            .sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        sessions.insert(key, Arc::clone(&waker));
        Self {
            worker: Arc::clone(worker),
            waker,
            key,
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut sessions = self
            .worker
            .sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        sessions.remove(&self.key);
    }
}
