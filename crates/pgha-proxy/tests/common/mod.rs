//! A pair of ports on loopback, servers that speak just enough of the protocol, and a clock that
//! tests can move.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unused_imports, reason = "each test file uses its part")]

mod client;
mod server;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pgha_core::gate::GateSetting;
use pgha_core::{ClusterId, Epoch, MemberName, Mono};
use pgha_proxy::{
    Clock, ClusterTag, Gate, Limits, Ports, PortsConfig, ReadOnlyAdmission, Route, Routes,
    RunError, Stats, Wiring,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use client::{Client, message, startup};
pub(crate) use server::{Manners, Server};

/// Nothing in these tests takes longer than this unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const CLUSTER: &str = "test";

/// Waits for `future`, but not for ever.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it took too long")
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Whether somebody on this host has asked for a connection to `address` and was not answered yet:
/// `SYN_SENT` in proc(5).
pub(crate) fn is_being_connected_to(address: SocketAddr) -> bool {
    const SYN_SENT: &str = "02";
    let port = format!(":{:04X}", address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(2);
        let is_remote = fields.next().is_some_and(|remote| remote.ends_with(&port));
        is_remote && fields.next() == Some(SYN_SENT)
    })
}

/// Stands at one second until it is moved.
pub(crate) struct TestClock(AtomicU64);

impl TestClock {
    pub(crate) fn jump_to(&self, millis: u64) {
        self.0.store(millis, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Mono {
        Mono::from_millis(self.0.load(Ordering::SeqCst))
    }
}

pub(crate) fn tag() -> ClusterTag {
    ClusterTag::of(&ClusterId::from(CLUSTER))
}

pub(crate) fn open(epoch: u64) -> GateSetting {
    GateSetting {
        epoch: Epoch(epoch),
        hold_at: Mono::from_millis(60_000),
        close_at: Mono::from_millis(120_000),
    }
}

/// One sidecar's ports.
pub(crate) struct Rig {
    pub(crate) read_write: SocketAddr,
    pub(crate) read_only: SocketAddr,
    pub(crate) gate: Arc<Gate>,
    pub(crate) admission: Arc<ReadOnlyAdmission>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) shutdown: CancellationToken,
    routes: watch::Sender<Arc<Routes>>,
    running: JoinHandle<Result<(), RunError>>,
}

impl Rig {
    pub(crate) fn start() -> Self {
        Self::with_limits(|_| {})
    }

    /// Of a member that belongs to no cluster yet.
    pub(crate) fn start_early() -> (Self, Arc<OnceLock<ClusterTag>>) {
        let cluster = Arc::default();
        (Self::start_in(Arc::clone(&cluster), |_| {}), cluster)
    }

    pub(crate) fn with_limits(change: impl FnOnce(&mut Limits)) -> Self {
        Self::start_in(Arc::new(OnceLock::from(tag())), change)
    }

    fn start_in(cluster: Arc<OnceLock<ClusterTag>>, change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits {
            workers: 2,
            ..Limits::default()
        };
        change(&mut limits);
        let any = "127.0.0.1:0".parse().unwrap();
        let ports = Ports::bind(any, any, PortsConfig { limits }).unwrap();
        let clock = Arc::new(TestClock(AtomicU64::new(1000)));
        let gate = Arc::new(Gate::with_clock(clock.clone()));
        let admission = Arc::new(ReadOnlyAdmission::new());
        let (routes, receiver) = watch::channel(Arc::new(Routes::hold("nobody is primary yet")));
        let shutdown = CancellationToken::new();
        let wiring = Wiring {
            gate: gate.clone(),
            admission: admission.clone(),
            routes: receiver,
            cluster,
        };
        Self {
            read_write: ports.read_write_address().unwrap(),
            read_only: ports.read_only_address().unwrap(),
            stats: ports.stats(),
            running: tokio::spawn(ports.run(wiring, shutdown.clone())),
            gate,
            admission,
            clock,
            shutdown,
            routes,
        }
    }

    /// Changes the routes.
    pub(crate) fn route(&self, change: impl FnOnce(&mut Routes)) {
        self.routes
            .send_modify(|routes| change(Arc::make_mut(routes)));
    }

    /// This member is the primary of `epoch`, its gate open.
    pub(crate) fn serve(&self, epoch: u64, postgres: SocketAddr) {
        self.gate.set(open(epoch)).unwrap();
        self.route(|routes| {
            routes.epoch = Epoch(epoch);
            routes.read_write = Route::Local { postgres };
        });
    }

    /// `address` is the read-write port of the primary of `epoch`.
    pub(crate) fn forward(&self, epoch: u64, address: SocketAddr) {
        self.route(|routes| {
            routes.epoch = Epoch(epoch);
            routes.read_write = Route::Remote {
                member: MemberName::from("other"),
                address: address.to_string(),
                epoch: Epoch(epoch),
            };
        });
    }

    pub(crate) fn hold_for(&self, hold: Duration) {
        self.route(|routes| routes.hold_timeout = hold);
    }

    pub(crate) fn count(&self, counter: impl Fn(&Stats) -> &AtomicU64) -> u64 {
        counter(&self.stats).load(Ordering::Relaxed)
    }

    /// Waits until so many connections are held.
    pub(crate) async fn held(&self, count: u64) {
        until("held connections", || {
            self.count(|stats| &stats.held_now) == count
        })
        .await;
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        soon(self.running).await.unwrap().unwrap();
    }
}
