//! What the ports count, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counters and gauges of both ports. Totals only grow; what ends in `_now` is a gauge.
        #[derive(Debug)]
        pub struct Stats {
            $($(#[$doc])* pub $name: AtomicU64,)*
            lanes: Box<[Lane]>,
        }

        impl Stats {
            pub(crate) fn new(workers: usize) -> Self {
                Self {
                    $($name: AtomicU64::new(0),)*
                    lanes: (0..workers).map(|_| Lane::default()).collect(),
                }
            }

            /// Every counter with its name, for whoever renders them.
            pub fn counters(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.load(Ordering::Relaxed)),)*]
            }
        }
    };
}

counters! {
    /// Connections accepted on the read-write port, forwarded ones included.
    read_write_accepted_total,
    /// Connections accepted on the read-only port, forwarded ones included.
    read_only_accepted_total,
    /// Connections open at the moment, held ones included.
    connections_now,
    /// Sessions between a client and a server at the moment.
    sessions_now,
    /// Sessions that were established.
    sessions_total,
    /// Connections that wait for somebody to serve them.
    held_now,
    /// Connections that had to wait.
    held_total,
    /// Connections refused with an error after waiting in vain, or because too many wait.
    refused_total,
    /// Connections closed before they were served: garbage, too slow, too many of one address.
    rejected_total,
    /// Sessions reset because the gate closed, the epoch ended or admission was withdrawn.
    cut_total,
    /// Sessions closed outside a transaction for a handover.
    drained_total,
    /// Sessions that other sidecars forwarded to this one.
    forwarded_in_total,
    /// Forwarded connections that were refused: other epoch, gate shut, other cluster.
    forward_refused_total,
    /// Sessions that this sidecar forwarded to others.
    forwarded_out_total,
    /// Attempts to reach a server that failed before its first answer and were repeated.
    attempts_failed_total,
    /// Cancel requests passed on.
    cancels_total,
    /// Failures to accept: no descriptors or no memory.
    accept_failures_total,
}

/// Bytes moved by one worker; on a cache line of its own, so that workers do not slow each other.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Lane {
    to_server: AtomicU64,
    to_client: AtomicU64,
}

impl Lane {
    #[inline]
    pub(crate) fn count(&self, to_client: bool, bytes: usize) {
        let counter = if to_client {
            &self.to_client
        } else {
            &self.to_server
        };
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Stats {
    /// Bytes passed from clients to servers.
    pub fn bytes_to_server_total(&self) -> u64 {
        self.lanes
            .iter()
            .map(|lane| lane.to_server.load(Ordering::Relaxed))
            .sum()
    }

    /// Bytes passed from servers to clients.
    pub fn bytes_to_client_total(&self) -> u64 {
        self.lanes
            .iter()
            .map(|lane| lane.to_client.load(Ordering::Relaxed))
            .sum()
    }

    pub(crate) fn lane(&self, worker: usize) -> &Lane {
        &self.lanes[worker % self.lanes.len()]
    }
}

/// Adds one to a total.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// One in a gauge for as long as it lives.
pub(crate) struct Gauge<'a>(&'a AtomicU64);

impl<'a> Gauge<'a> {
    pub(crate) fn enter(gauge: &'a AtomicU64) -> Self {
        gauge.fetch_add(1, Ordering::Relaxed);
        Self(gauge)
    }

    /// Enters unless the gauge has reached `max`.
    pub(crate) fn enter_below(gauge: &'a AtomicU64, max: usize) -> Option<Self> {
        let entered = Self::enter(gauge);
        (gauge.load(Ordering::Relaxed) <= max as u64).then_some(entered)
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
