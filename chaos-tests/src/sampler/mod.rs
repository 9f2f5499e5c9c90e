//! Looks every 50 ms, past all of pgha, at who serves: writes through every port and straight to every
//! server, and the health checks.
//!
//! Nothing is judged while it runs: each answer is kept with the interval in which it was given.

mod health;
mod judge;
mod writes;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cluster::Cluster;
use crate::wait;

pub(crate) use judge::goes_back;
pub use judge::{Excuse, judge};
pub use writes::TABLE;

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
    /// Writes that were tried.
    pub tried: u64,
    /// Health checks that answered at all.
    pub health_answers: u64,
}

/// The looks, under way.
pub struct Sampler {
    origin: Instant,
    seen: Arc<Mutex<Seen>>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// What each look needs.
#[derive(Clone)]
struct Desk {
    origin: Instant,
    seen: Arc<Mutex<Seen>>,
    stopped: watch::Receiver<bool>,
}

impl Desk {
    fn keep(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
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
        for task in self.tasks {
            tokio::time::timeout(END_WITHIN, task)
                .await
                .context("a look of the sampler does not end")??;
        }
        Ok(std::mem::take(
            &mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}
