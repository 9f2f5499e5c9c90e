//! What every connection of both ports sees.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use pgha_core::Epoch;
use tokio::sync::{Notify, watch};

use crate::admission::ReadOnlyAdmission;
use crate::clock::BootClock;
use crate::entry::{Balancer, StartupLimit};
use crate::gate::{Cell, Gate, Pass};
use crate::limits::Limits;
use crate::preamble::ClusterTag;
use crate::resolve::Resolver;
use crate::routes::{Route, Routes};
use crate::stats::Stats;

/// One for each pair of ports.
pub(crate) struct Shared {
    pub(crate) gate: Arc<Gate>,
    pub(crate) admission: Arc<ReadOnlyAdmission>,
    pub(crate) routes: watch::Receiver<Arc<Routes>>,
    pub(crate) cluster: Arc<OnceLock<ClusterTag>>,
    pub(crate) limits: Limits,
    pub(crate) stats: Arc<Stats>,
    pub(crate) resolver: Resolver,
    pub(crate) balancer: Balancer,
    pub(crate) startups: Arc<StartupLimit>,
    /// Raised by the supervisor after every change of gate, routes or admission: what waiting
    /// connections wait for. One listener to each source keeps the lease thread from waking
    /// thousands of tasks itself.
    pub(crate) ticks: watch::Sender<u64>,
    /// Told when a connection ends while the ports are full.
    pub(crate) freed: Notify,
    open: AtomicU64,
    remote: Mutex<Arc<Cell>>,
    unbound: Arc<Cell>,
    stopping: AtomicBool,
}

impl Shared {
    pub(crate) fn new(
        gate: Arc<Gate>,
        admission: Arc<ReadOnlyAdmission>,
        routes: watch::Receiver<Arc<Routes>>,
        cluster: Arc<OnceLock<ClusterTag>>,
        limits: Limits,
        stats: Arc<Stats>,
    ) -> Self {
        let remote = Cell::unlimited(Epoch::NONE, Arc::new(BootClock));
        let startups = Arc::new(StartupLimit::new(limits.startups_per_address_max));
        Self {
            gate,
            admission,
            routes,
            cluster,
            limits,
            stats,
            startups,
            resolver: Resolver::default(),
            balancer: Balancer::default(),
            ticks: watch::Sender::new(0),
            freed: Notify::new(),
            open: AtomicU64::new(0),
            remote: Mutex::new(Arc::new(remote)),
            unbound: Arc::new(Cell::unlimited(Epoch::NONE, Arc::new(BootClock))),
            stopping: AtomicBool::new(false),
        }
    }

    pub(crate) fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.routes.borrow())
    }

    /// A pass for a session forwarded to the primary of `epoch`.
    pub(crate) fn enter_remote(&self, epoch: Epoch) -> Option<Pass> {
        let cell = self.remote_cell();
        (cell.epoch == epoch && !cell.is_over()).then(|| Pass::new(cell))
    }

    /// A pass for a session with another member's replica, whose own sidecar ends it.
    pub(crate) fn enter_unbound(&self) -> Pass {
        Pass::new(Arc::clone(&self.unbound))
    }

    /// Ends forwarded sessions whose primary is no longer that of the routes. A route that is
    /// merely held keeps them: the primary's own gate decides about those.
    pub(crate) fn follow_routes(&self, routes: &Routes) {
        let mut remote = self.remote.lock().unwrap_or_else(PoisonError::into_inner);
        if remote.epoch < routes.epoch {
            remote.kill();
        }
        if let Route::Remote { epoch, .. } = routes.read_write
            && epoch > remote.epoch
        {
            remote.kill();
            *remote = Arc::new(Cell::unlimited(epoch, Arc::new(BootClock)));
        }
    }

    /// All cells that established sessions may be bound to, except those that are over.
    pub(crate) fn cells(&self) -> [Arc<Cell>; 4] {
        let unbound = Arc::clone(&self.unbound);
        [
            self.gate.cell(),
            self.admission.cell(),
            self.remote_cell(),
            unbound,
        ]
    }

    fn remote_cell(&self) -> Arc<Cell> {
        Arc::clone(&self.remote.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn tick(&self) {
        self.ticks
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.tick();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(crate) fn connections(&self) -> u64 {
        self.open.load(Ordering::Acquire)
    }
}

/// An accepted connection among those that the ports have room for.
pub(crate) struct Room {
    shared: Arc<Shared>,
}

impl Room {
    pub(crate) fn take(shared: &Arc<Shared>) -> Self {
        shared.open.fetch_add(1, Ordering::AcqRel);
        shared.stats.connections_now.fetch_add(1, Ordering::Relaxed);
        Self {
            shared: Arc::clone(shared),
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let before = self.shared.open.fetch_sub(1, Ordering::AcqRel);
        self.shared
            .stats
            .connections_now
            .fetch_sub(1, Ordering::Relaxed);
        if before >= self.shared.limits.connections_max as u64 {
            // Two acceptors may wait for room.
            self.shared.freed.notify_waiters();
        }
    }
}
