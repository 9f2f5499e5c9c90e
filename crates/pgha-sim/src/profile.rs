//! How a run is: what can break in it, and how often.

use pgha_core::Settings;
use rand::Rng;
use rand::rngs::StdRng;

use crate::fault::Fault;
use crate::time::{Nanos, SECOND};

/// Up to two fifths too fast, or too slow.
const WILD_TIMES: i64 = 400;

/// How a run is: drawn once.
#[derive(Clone, Debug)]
pub struct Profile {
    /// How long things break.
    pub chaos: Nanos,
    /// Milliseconds between two faults, on average.
    pub pause_ms: u64,
    /// Messages that are lost, of a hundred.
    pub drop_percent: u32,
    /// Messages that arrive twice.
    pub duplicate_percent: u32,
    /// Messages that are late.
    pub slow_percent: u32,
    /// By how much at most.
    pub slow_ms: u64,
    /// Jobs that fail.
    pub job_fails_percent: u32,
    /// Starts of PostgreSQL that fail.
    pub start_fails_percent: u32,
    /// Checkpoints remove WAL that no slot keeps.
    pub removes_wal: bool,
    /// Commits wait until other data members have flushed them: `synchronous_standby_names` as a user
    /// may set it. Which members have to report for an election does not follow from it yet.
    pub synchronous: bool,
    /// `max_lag_on_failover` of the cluster's first settings.
    pub max_lag: u64,
    /// When most members are lost for ever, where they are.
    pub quorum_lost: Option<Nanos>,
    /// The kinds of fault that occur.
    pub kinds: Vec<Fault>,
    /// Clocks run wrong by far more than is allowed for. What rests on clocks is not asked then, and
    /// everything else is.
    pub wild_clocks: bool,
}

impl Profile {
    /// Nothing breaks by itself.
    pub fn calm() -> Self {
        Self {
            chaos: 0,
            pause_ms: 0,
            drop_percent: 0,
            duplicate_percent: 0,
            slow_percent: 0,
            slow_ms: 1,
            job_fails_percent: 0,
            start_fails_percent: 0,
            removes_wal: false,
            synchronous: false,
            max_lag: Settings::default().max_lag_on_failover,
            quorum_lost: None,
            kinds: Vec::new(),
            wild_clocks: false,
        }
    }

    /// Nothing breaks but these kinds, often.
    pub fn calm_but(kinds: Vec<Fault>) -> Self {
        Self {
            chaos: 20 * SECOND,
            pause_ms: 500,
            kinds,
            ..Self::calm()
        }
    }

    /// Whether nothing is taken from a primary by what breaks here (P11).
    pub(crate) fn spares_primary(&self) -> bool {
        let spares = |kind: &Fault| Fault::SPARE_PRIMARIES.contains(kind);
        let percents = [
            self.drop_percent,
            self.slow_percent,
            self.job_fails_percent,
            self.start_fails_percent,
        ];
        !self.kinds.is_empty()
            && self.kinds.iter().all(spares)
            && percents.iter().all(|percent| *percent == 0)
            && self.quorum_lost.is_none()
            && !self.wild_clocks
    }

    /// How many times as wrong as they are allowed to be clocks run.
    pub(crate) fn clock_rate_times(&self) -> i64 {
        if self.wild_clocks { WILD_TIMES } else { 1 }
    }

    /// Some kinds of fault at some rate.
    pub fn draw(rng: &mut StdRng) -> Self {
        let kinds: Vec<Fault> = Fault::ALL
            .into_iter()
            // Once a run at most, and planned by itself.
            .filter(|fault| *fault != Fault::QuorumLost)
            .filter(|_| rng.random_range(0..100) < 50)
            .collect();
        let calm = rng.random_range(0..3) == 0;
        let percent = |rng: &mut StdRng, most: u32| {
            if calm { 0 } else { rng.random_range(0..=most) }
        };
        Self {
            chaos: rng.random_range(10..50) * SECOND,
            pause_ms: rng.random_range(300..5000),
            drop_percent: percent(rng, 15),
            duplicate_percent: percent(rng, 10),
            slow_percent: percent(rng, 10),
            slow_ms: rng.random_range(30..800),
            job_fails_percent: percent(rng, 15),
            start_fails_percent: percent(rng, 10),
            removes_wal: rng.random_range(0..3) == 0,
            synchronous: rng.random_range(0..5) == 0,
            // The default is more than a run writes.
            max_lag: match rng.random_range(0..3) {
                0 => rng.random_range(0..10_000),
                _ => Settings::default().max_lag_on_failover,
            },
            quorum_lost: (rng.random_range(0..6) == 0).then(|| rng.random_range(4..30) * SECOND),
            kinds: if kinds.is_empty() {
                vec![Fault::NodeDies]
            } else {
                kinds
            },
            wild_clocks: rng.random_range(0..8) == 0,
        }
    }
}
