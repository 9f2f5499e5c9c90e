//! The two ports: bound early, run until told to stop.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::accept::accept_loop;
use crate::admission::ReadOnlyAdmission;
use crate::entry::PortKind;
use crate::gate::Gate;
use crate::limits::Limits;
use crate::preamble::ClusterTag;
use crate::routes::Routes;
use crate::runtime::ProxyRuntime;
use crate::shared::Shared;
use crate::socket;
use crate::stats::Stats;
use crate::supervisor::supervise;

/// How often a stopping port looks whether its sessions have ended.
const STOP_CHECK: Duration = Duration::from_millis(10);

/// A port that cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else has it.
    #[error(
        "the {port} port {address} is taken by another process: stop that one or change {setting}"
    )]
    Taken {
        /// "read-write" or "read-only".
        port: &'static str,
        /// The address.
        address: SocketAddr,
        /// The key that changes it.
        setting: &'static str,
    },
    /// Any other reason.
    #[error("cannot listen on the {port} port {address}: {error}; change {setting}")]
    Refused {
        /// "read-write" or "read-only".
        port: &'static str,
        /// The address.
        address: SocketAddr,
        /// The key that changes it.
        setting: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
}

/// Why the ports could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The threads could not be started.
    #[error("cannot start the threads of the client ports: {0}")]
    Threads(#[source] io::Error),
    /// A listening socket failed.
    #[error("a client port cannot be listened on any more: {0}")]
    Accept(#[source] io::Error),
}

/// What does not change while the ports run.
#[derive(Clone, Debug)]
pub struct PortsConfig {
    /// The limits.
    pub limits: Limits,
}

/// Who tells the ports what to do.
pub struct Wiring {
    /// Written by the lease thread. Belongs to one pair of ports.
    pub gate: Arc<Gate>,
    /// Written by the agent. Belongs to one pair of ports.
    pub admission: Arc<ReadOnlyAdmission>,
    /// Where connections go.
    pub routes: watch::Receiver<Arc<Routes>>,
    /// Which cluster forwarded connections must come from. Whoever forms or joins one learns it while the
    /// ports run, and until then nothing is forwarded, nor taken from another member.
    pub cluster: Arc<OnceLock<ClusterTag>>,
}

/// Both ports, bound.
pub struct Ports {
    read_write: TcpListener,
    read_only: TcpListener,
    config: PortsConfig,
    stats: Arc<Stats>,
}

impl Ports {
    /// Binds both. From here on clients can connect, and wait.
    pub fn bind(
        read_write: SocketAddr,
        read_only: SocketAddr,
        config: PortsConfig,
    ) -> Result<Self, BindError> {
        let stats = Arc::new(Stats::new(config.limits.workers.max(1)));
        Ok(Self {
            read_write: bind("read-write", "proxy.read_write", read_write)?,
            read_only: bind("read-only", "proxy.read_only", read_only)?,
            config,
            stats,
        })
    }

    /// The address of the read-write port, with the port the kernel chose if it was zero.
    pub fn read_write_address(&self) -> io::Result<SocketAddr> {
        self.read_write.local_addr()
    }

    /// The address of the read-only port, with the port the kernel chose if it was zero.
    pub fn read_only_address(&self) -> io::Result<SocketAddr> {
        self.read_only.local_addr()
    }

    /// What the ports count.
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// Serves until `shutdown`, on threads of its own. Then accepts no more, refuses those that
    /// wait, lets sessions reach their next idle point for
    /// [`shutdown_grace`](Limits::shutdown_grace), and resets the rest.
    pub async fn run(self, wiring: Wiring, shutdown: CancellationToken) -> Result<(), RunError> {
        let limits = self.config.limits.clone();
        let runtime =
            ProxyRuntime::start(&self.stats, limits.workers).map_err(RunError::Threads)?;
        let shared = Arc::new(Shared::new(
            wiring.gate,
            wiring.admission,
            wiring.routes,
            wiring.cluster,
            limits,
            self.stats,
        ));
        let accept = |listener, port| {
            let workers = runtime.workers().to_vec();
            let accepting = accept_loop(listener, port, Arc::clone(&shared), workers);
            runtime.workers()[0].handle.spawn(accepting)
        };
        let mut read_write = accept(self.read_write, PortKind::ReadWrite);
        let mut read_only = accept(self.read_only, PortKind::ReadOnly);
        let failed = tokio::select! {
            () = supervise(&shared, &runtime, &shutdown) => None,
            ended = &mut read_write => Some(ended),
            ended = &mut read_only => Some(ended),
        };
        read_write.abort();
        read_only.abort();
        stop(&shared, &runtime).await;
        match failed {
            None => Ok(()),
            Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(RunError::Accept(error)),
            Some(Err(error)) => Err(RunError::Accept(io::Error::other(error))),
        }
    }
}

async fn stop(shared: &Shared, runtime: &ProxyRuntime) {
    let cells = shared.cells();
    cells.iter().for_each(|cell| cell.drain());
    shared.stop();
    runtime.wake_sessions();
    let deadline = Instant::now() + shared.limits.shutdown_grace;
    while shared.connections() > 0 && Instant::now() < deadline {
        tokio::time::sleep(STOP_CHECK).await;
    }
    // What is left is cut; a moment lets the workers send the resets before they are stopped.
    cells.iter().for_each(|cell| cell.kill());
    runtime.wake_sessions();
    let deadline = Instant::now() + shared.limits.shutdown_grace;
    while cells.iter().any(|cell| cell.sessions() > 0) && Instant::now() < deadline {
        tokio::time::sleep(STOP_CHECK).await;
    }
}

fn bind(
    port: &'static str,
    setting: &'static str,
    address: SocketAddr,
) -> Result<TcpListener, BindError> {
    socket::listen(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken {
            port,
            address,
            setting,
        },
        _ => BindError::Refused {
            port,
            address,
            setting,
            error,
        },
    })
}
