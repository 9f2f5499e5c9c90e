//! The limits of the ports: every queue and wait has one.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors of one session: client and server.
const DESCRIPTORS_PER_SESSION: u64 = 2;
/// Left to the Raft group, HTTP and the probes when the ports are stormed.
const DESCRIPTORS_RESERVED_MAX: u64 = 256;

/// Limits of the ports. The defaults suit any cluster; tests shorten them.
#[derive(Clone, Debug)]
pub struct Limits {
    /// A client must have sent its first packet within this time.
    pub startup_timeout: Duration,
    /// Connections from one address that are open and silent: no first packet after 250 ms.
    pub startups_per_address_max: usize,
    /// Connections held at a time while there is nobody to serve them.
    pub held_max: usize,
    /// Connections of both ports at a time; beyond it the kernel's backlog holds them.
    pub connections_max: usize,
    /// For a TCP connection to PostgreSQL or to another sidecar.
    pub connect_timeout: Duration,
    /// For the first byte of the server's answer.
    pub answer_timeout: Duration,
    /// For the resolution of a host name.
    pub resolve_timeout: Duration,
    /// How long sessions may take to end when the ports are shut down.
    pub shutdown_grace: Duration,
    /// Threads that move bytes.
    pub workers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let connections_max = connections_max();
        Self {
            startup_timeout: Duration::from_secs(10),
            startups_per_address_max: (connections_max / 2).clamp(1, 1024),
            held_max: 10_000,
            connections_max,
            connect_timeout: Duration::from_secs(1),
            answer_timeout: Duration::from_secs(5),
            resolve_timeout: Duration::from_secs(1),
            shutdown_grace: Duration::from_millis(500),
            workers: std::thread::available_parallelism()
                .map_or(1, usize::from)
                .clamp(1, 4),
        }
    }
}

/// Raises this process's limit of open files as far as it may by itself. The usual limit of 1024 is there
/// for programs that use select(2), which PostgreSQL and pgha do not (getrlimit(2)); it would let no more
/// than 384 clients in.
pub fn raise_file_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}

/// As many as the limit of open files allows when the rest of the process keeps its reserve.
fn connections_max() -> usize {
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    let reserved = DESCRIPTORS_RESERVED_MAX.min(files / 2);
    let sessions = (files - reserved) / DESCRIPTORS_PER_SESSION;
    usize::try_from(sessions)
        .unwrap_or(usize::MAX)
        .clamp(1, 1_000_000)
}
