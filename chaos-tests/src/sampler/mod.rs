//! Looks, past all of pgha, at who serves: writes through every port and straight to every server, and
//! the health checks. Each of them has a lane of its own, which begins a look every 50 ms where the one
//! before was answered; how long it really stood still is measured.
//!
//! Nothing is judged while it runs: each answer is kept with the interval in which it was given.

mod epochs;
mod health;
mod judge;
mod lanes;
mod writes;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cluster::Cluster;
use crate::wait;

pub(crate) use health::open_epoch;
pub(crate) use judge::goes_back;
pub use judge::{Excuse, judge};
pub use lanes::{Lane, Pace};
pub use writes::{TABLE, two_starts};

/// Between two looks of one kind.
pub(crate) const EVERY: Duration = Duration::from_millis(50);
/// Longer than any look may take.
const END_WITHIN: Duration = Duration::from_secs(20);

/// How a write went in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Via {
    /// The read-write port of that member.
    Port(String),
    /// PostgreSQL of that member itself, from its own host.
    Direct(String),
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(name) => write!(f, "port of {name}"),
            Self::Direct(name) => write!(f, "server of {name}"),
        }
    }
}

/// The process that took a write, by its own word.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Server {
    /// Address and port on which it was reached.
    pub address: String,
    /// `pg_postmaster_start_time()`, microseconds since 1970.
    pub started_us: i64,
    /// Its timeline.
    pub timeline: u32,
}

/// A write that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// How it went in.
    pub via: Via,
    /// Since the sampler began.
    pub sent: Duration,
    /// Since the sampler began.
    pub ended: Duration,
    /// Who took it.
    pub server: Server,
    /// The epoch for which the gate of the member whose server took it was open before and after, where
    /// that is one.
    pub epoch: Option<u64>,
}

/// A health check that answered 200 to `/primary`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Who answered.
    pub member: String,
    /// For which epoch.
    pub epoch: u64,
    /// Since the sampler began.
    pub sent: Duration,
    /// Since the sampler began.
    pub ended: Duration,
}

/// Everything seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Acknowledged writes.
    pub writes: Vec<Write>,
    /// Gates that said that they are open.
    pub open: Vec<Open>,
    /// When each port and server was looked at.
    pub lanes: BTreeMap<Via, Lane>,
    /// When the looks ended, since the sampler began.
    pub ended: Duration,
}

/// The looks, under way.
pub struct Sampler {
    origin: Instant,
    seen: Arc<Mutex<Seen>>,
    members: Arc<BTreeMap<String, String>>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// What the newest look at a health check told.
#[derive(Debug, Clone, Copy)]
struct Gate {
    /// For which epoch it is open.
    epoch: Option<u64>,
    /// When that was asked.
    sent: Duration,
}

/// What each look needs.
#[derive(Clone)]
struct Desk {
    origin: Instant,
    seen: Arc<Mutex<Seen>>,
    /// By member.
    gates: Arc<Mutex<BTreeMap<String, Gate>>>,
    /// Members by the address of their server.
    members: Arc<BTreeMap<String, String>>,
    stopped: watch::Receiver<bool>,
}

impl Desk {
    fn keep(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn gates(&self) -> MutexGuard<'_, BTreeMap<String, Gate>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        wait::is_over(&self.stopped)
    }
}

fn ticks() -> tokio::time::Interval {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick
}

impl Sampler {
    /// Begins to look at every member; the table is there. `origin` is the instant that its times count from.
    pub fn begin(cluster: &Cluster, origin: Instant) -> anyhow::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let seen = Arc::default();
        let desk = Desk {
            origin,
            seen: Arc::clone(&seen),
            gates: Arc::default(),
            members: Arc::new(members(cluster)),
            stopped,
        };
        let mut tasks = Vec::new();
        for member in &cluster.members {
            let name = &member.name;
            for (via, target) in [
                (Via::Port(name.clone()), cluster.read_write(name)?),
                (Via::Direct(name.clone()), cluster.direct(name)?),
            ] {
                tasks.push(tokio::spawn(writes::look(desk.clone(), via, target)));
            }
            let from = cluster.network.as_ref().map(|n| n.client().clone());
            let at = member.addresses.http;
            tasks.push(tokio::spawn(health::look(
                desk.clone(),
                name.clone(),
                from,
                at,
            )));
        }
        Ok(Self {
            origin,
            seen,
            members: desk.members,
            stop,
            tasks,
        })
    }

    /// The instant that its times count from.
    pub const fn origin(&self) -> Instant {
        self.origin
    }

    /// Ends the looks.
    pub async fn end(self) -> anyhow::Result<Seen> {
        self.stop.send_replace(true);
        let ended = self.origin.elapsed();
        for task in self.tasks {
            tokio::time::timeout(END_WITHIN, task)
                .await
                .context("a look of the sampler does not end")??;
        }
        let mut seen =
            std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        seen.ended = ended;
        epochs::confirm(&mut seen, &self.members);
        Ok(seen)
    }
}

fn members(cluster: &Cluster) -> BTreeMap<String, String> {
    let all = cluster.members.iter();
    all.map(|member| (member.addresses.postgres.to_string(), member.name.clone()))
        .collect()
}
