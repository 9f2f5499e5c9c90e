//! All faults, so many rounds of each, and the table that says what came of them.

mod results;

use std::path::PathBuf;

use clap::ValueEnum;

use crate::bench::Machine;
use crate::nemesis::{Kind, Schedule};
use crate::round::{self, Outcome, Verdict};
use crate::{Cluster, netns};
use results::{Played, Row};

pub use results::{Results, describe};

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What all schedules are drawn from.
    pub seed: u64,
    /// Rounds of each kind.
    pub rounds: u64,
    /// Which kinds.
    pub kinds: Vec<Kind>,
    /// Where the results are kept.
    pub results: PathBuf,
}

impl Plan {
    /// Every kind there is.
    pub fn all_kinds() -> Vec<Kind> {
        Kind::value_variants().to_vec()
    }
}

/// Plays all rounds. Members share clusters: one that a round has left broken is given up.
pub async fn run(plan: &Plan) -> anyhow::Result<Results> {
    let begun_at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H%M%SZ");
    let mut results = Results {
        machine: Machine::look()?,
        begun_at: begun_at.to_string(),
        seed: plan.seed,
        skipped: Vec::new(),
        rows: Vec::new(),
    };
    if let Some(reason) = netns::obstacle() {
        println!("SKIPPED all faults: {reason}");
        results.skipped.push(reason);
        return Ok(results);
    }
    let mut stage = Stage::default();
    for kind in &plan.kinds {
        if let Some(reason) = kind.obstacle() {
            println!("SKIPPED {}: {reason}", kind.name());
            results.skipped.push(format!("{}: {reason}", kind.name()));
            continue;
        }
        let mut played = Vec::new();
        for round in 0..plan.rounds {
            let schedule = Schedule::draw(*kind, plan.seed, round);
            eprintln!("{} {}/{}: {schedule}", kind.name(), round + 1, plan.rounds);
            let outcome = stage.play(&schedule).await?;
            let verdict = outcome.verdict();
            eprintln!("  {verdict:?}: {}", describe(&outcome));
            played.push(Played {
                schedule,
                verdict,
                outcome,
            });
        }
        let row = Row::of(*kind, played);
        println!("{}", row.line());
        results.rows.push(row);
    }
    stage.clear();
    Ok(results)
}

/// The cluster that is in use.
#[derive(Default)]
struct Stage {
    cluster: Option<Cluster>,
    rounds: u32,
}

impl Stage {
    async fn play(&mut self, schedule: &Schedule) -> anyhow::Result<Outcome> {
        if schedule.kind.is_once()
            && let Some(used) = self.cluster.take()
        {
            used.finish();
        }
        let mut cluster = match self.cluster.take() {
            Some(cluster) => cluster,
            None => Cluster::start_with(round::cluster()).await?,
        };
        self.rounds += 1;
        let (outcome, usable) = match round::run(&mut cluster, schedule, self.rounds).await {
            Ok(outcome) => {
                let usable = outcome.verdict() != Verdict::Fail;
                (outcome, usable)
            }
            Err(error) => (Outcome::of_a_broken_harness(&error), false),
        };
        if usable {
            self.cluster = Some(cluster);
        } else {
            eprintln!("  logs: {}", cluster.scratch.path().display());
            cluster.give_up();
        }
        Ok(outcome)
    }

    fn clear(self) {
        if let Some(cluster) = self.cluster {
            cluster.finish();
        }
    }
}
