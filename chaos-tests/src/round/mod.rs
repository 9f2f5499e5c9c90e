//! One round: load, readers and looks run while a schedule strikes; then everything is healed, the
//! cluster has to come together again, and what everybody was told is held against what is there.

mod consequences;
mod crew;
mod excuse;
mod judge;
mod play;
mod promises;
mod verdict;

use std::time::{Duration, Instant};

use anyhow::Context;
use pgha_core::Epoch;
use pgha_core::invariant::{self, Violation};

use crate::cluster::Cluster;
use crate::nemesis::{self, Blow, Kind, Schedule};
use crate::options::ClusterOptions;
use crew::Crew;

pub use consequences::Switchovers;
pub use verdict::{Outcome, Verdict};

/// Writes work again within this after the last fault ended, whatever the machine is busy with.
const SERVICE_WITHIN: Duration = Duration::from_secs(60);
/// Every member streams again within this after that: rewind or clone included.
const CONVERGED_WITHIN: Duration = Duration::from_secs(90);
/// Rows before the first fault, and after the last.
const ROWS: usize = 60;
/// `max_lag_on_failover` of the members: so near to what a few seconds of the load write that it decides.
const LAG_MAX: u64 = 256 << 10;

/// A cluster for rounds: three members in namespaces.
pub fn cluster() -> ClusterOptions {
    ClusterOptions::new(3)
        .in_namespaces()
        .initial("max_lag_on_failover", LAG_MAX)
}

/// Plays the schedule. An error is one of the harness; what the cluster did wrong is in the outcome.
/// Rounds on one cluster have to be numbered differently: `number` tells their rows apart.
pub async fn run(
    cluster: &mut Cluster,
    schedule: &Schedule,
    number: u32,
) -> anyhow::Result<Outcome> {
    let prepared = nemesis::prepare(cluster, schedule)
        .await
        .context("before the round")?;
    let journal = cluster.history().await?;
    let known = journal.iter().map(|entry| entry.epoch).max();
    let freezes = schedule.entries.iter().any(|entry| entry.kind.freezes());
    let crew = Crew::begin(cluster, number, freezes).await?;
    crew.advance(ROWS, SERVICE_WITHIN).await?;
    let began = Instant::now();
    let played = play::play(cluster, schedule, &prepared).await;
    let healed = Instant::now();
    let mut ending = come_together(cluster, &crew).await;
    let told = crew.end().await?;
    if ending == Ending::default()
        && let Err(error) = cluster
            .ends_in_one_primary_and_all_streaming(CONVERGED_WITHIN)
            .await
    {
        ending.wrong.push(format!("no convergence: {error:#}"));
    }
    if ending == Ending::default() {
        match promises::broken(cluster).await {
            Ok(broken) => ending.wrong.extend(broken),
            Err(error) => ending.missed.push(format!("{error:#}")),
        }
    }
    let mut outcome = judge::judge(cluster, &told, &played.blows, known, began).await?;
    outcome.wrong.splice(0..0, ending.wrong);
    if schedule.kind.changes_no_primary() {
        let begun = outcome.epochs.iter().copied().map(Epoch);
        outcome.wrong.extend(in_words(invariant::role_kept(begun)));
    }
    if schedule.kind.loses_nothing() && outcome.lost_reported > 0 {
        let rows = outcome.lost_reported;
        let what = format!("{rows} acknowledged rows were lost for a fault that may cost none");
        outcome.wrong.push(what);
    }
    outcome.missed.extend(ending.missed);
    outcome.missed.extend(played.missed);
    if schedule.kind == Kind::Mixed && outcome.switchovers.ordered == 0 {
        outcome.missed.push("no switchover was ordered".to_owned());
    }
    if schedule.kind == Kind::Mixed && outcome.struck > 0 {
        // What an earlier fault has felled or cut off cannot be struck again.
        outcome.idle = played.idle;
    } else {
        outcome.missed.extend(played.idle);
    }
    outcome.converged_ms = ms(healed.elapsed());
    Ok(outcome)
}

/// How a round ended for the members.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ending {
    /// What the cluster did not do.
    wrong: Vec<String>,
    /// What the harness could not do.
    missed: Vec<String>,
}

impl Ending {
    fn wrong(what: String) -> Self {
        Self {
            wrong: vec![what],
            ..Self::default()
        }
    }

    fn missed(what: String) -> Self {
        Self {
            missed: vec![what],
            ..Self::default()
        }
    }
}

/// Service first, then all members.
async fn come_together(cluster: &mut Cluster, crew: &Crew) -> Ending {
    if let Some(network) = &cluster.network
        && let Err(error) = network.heal()
    {
        return Ending::missed(format!("the network cannot be healed: {error:#}"));
    }
    if let Err(error) = cluster.restart_fallen() {
        return Ending::missed(format!("a member cannot be started: {error:#}"));
    }
    if let Err(error) = crew.advance(ROWS, SERVICE_WITHIN).await {
        return Ending::wrong(format!("no service: {error:#}"));
    }
    let served = Instant::now();
    loop {
        // One that exits by itself is started again, as a service manager would.
        let _next_time = cluster.restart_fallen();
        match cluster.wait_healthy(Duration::from_secs(2)).await {
            Ok(_) => return Ending::default(),
            Err(error) => {
                let what = format!("not together: {error:#}");
                let waited =
                    invariant::no_endless_wait(Some(&what), served.elapsed(), CONVERGED_WITHIN);
                if let Some(broken) = in_words(waited) {
                    return Ending::wrong(broken);
                }
            }
        }
    }
}

/// A broken promise in words.
fn in_words(judged: Result<(), Violation>) -> Option<String> {
    judged.err().map(|broken| broken.to_string())
}

fn ms(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

/// What happened to whom, for the judgement of what it permits.
type Blows = Vec<Blow>;
