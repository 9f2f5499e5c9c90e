//! Gaps under faults, as design 8 measures them: a client inserts every 10 ms through the port of a
//! surviving member.

use std::time::{Duration, Instant};

use anyhow::Context;

use crate::bench::second_client::{OldAcknowledgements, SecondClient};
use crate::bench::{Figure, Unit};
use crate::cluster::Cluster;
use crate::faults::Fault;
use crate::load::{Load, LoadOptions, Record};
use crate::member::Part;
use crate::sql::Target;
use crate::wait;

const WITHIN: Duration = Duration::from_secs(90);
/// Rows before a fault, so that the cadence is known.
const BEFORE: usize = 100;
/// Rows after it; a slow second outage would fall into them.
const AFTER: usize = 200;
/// Longer than any failover that counts as one.
const FREEZE: Duration = Duration::from_secs(6);
const CUT: Duration = Duration::from_secs(6);
const EVERY: Duration = Duration::from_millis(10);

/// One fault, measured.
struct Round {
    gap: f64,
    refused: f64,
    /// The first acknowledgement of the new primary.
    opened: Instant,
    struck: Instant,
    healed: Instant,
    steps: Vec<(String, u64)>,
    old: Option<OldAcknowledgements>,
}

/// How a round differs from the plain one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Second {
    None,
    /// Outside, with a session that was open when the fault came.
    Outside,
    /// On the cut-off host itself.
    Inside,
}

pub(super) async fn postmaster(c: &mut Cluster, rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let all = repeat(c, Fault::PostmasterKilled, rounds, Second::None).await?;
    Ok(vec![gaps("postmaster killed (kill -9)", &all, 0.5, 1.0)])
}

pub(super) async fn sidecar(c: &mut Cluster, rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let all = repeat(c, Fault::SidecarKilled, rounds, Second::None).await?;
    Ok(vec![gaps(
        "sidecar killed (raft leader elsewhere)",
        &all,
        0.8,
        1.5,
    )])
}

pub(super) async fn node(c: &mut Cluster, rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let all = repeat(c, Fault::NodeKilled, rounds, Second::None).await?;
    Ok(vec![gaps("whole node killed at once", &all, 2.0, 3.0)])
}

pub(super) async fn switchover(c: &mut Cluster, rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let all = repeat(c, Fault::Switchover, rounds, Second::None).await?;
    let refused = all.iter().map(|round| round.refused).collect();
    Ok(vec![
        gaps("planned switchover", &all, 0.4, 1.0),
        Figure::new("switchover: refused connections", Unit::Count, refused).below(None, Some(0.0)),
    ])
}

pub(super) async fn cut(c: &mut Cluster, rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let all = repeat(c, Fault::NetworkCut(CUT), rounds, Second::Inside).await?;
    let old = |of: fn(&OldAcknowledgements, &Round) -> f64| -> Vec<f64> {
        all.iter()
            .filter_map(|round| Some(of(round.old.as_ref()?, round)))
            .collect()
    };
    let late = old(|old, round| old.after(round.opened) as f64);
    let worth = old(|old, round| old.seconds_after(round.struck));
    Ok(vec![
        gaps("primary cut off by the network", &all, 2.0, 3.0),
        Figure::new(
            "cut: accepted by the old after the new opened",
            Unit::Count,
            late,
        )
        .below(None, Some(0.0)),
        Figure::new(
            "cut-off primary still acknowledges for",
            Unit::Seconds,
            worth,
        )
        .below(Some(1.1), None),
    ])
}

pub(super) async fn frozen(c: &mut Cluster, rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let all = repeat(c, Fault::NodeFrozen(FREEZE), rounds, Second::Outside).await?;
    let late = all
        .iter()
        .filter_map(|round| Some(round.old.as_ref()?.after(round.healed) as f64))
        .collect();
    Ok(vec![
        gaps("whole node frozen (SIGSTOP), later resumed", &all, 2.0, 3.0),
        Figure::new(
            "frozen: acknowledged by the old after the resume",
            Unit::Count,
            late,
        )
        .below(None, Some(0.0)),
    ])
}

/// The longest pause beyond the client's own, for nothing must be felt.
pub(super) async fn raft_leader(c: &mut Cluster, rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let mut pauses = Vec::new();
    for round in 0..rounds {
        let primary = c.primary().await?;
        let leader = leader_elsewhere(c, &primary).await?;
        let load = begin(c.read_write(&primary)?, round).await?;
        let struck = load.now();
        c.member_mut(&leader)?.kill(Part::Node)?;
        load.advance(AFTER, WITHIN).await?;
        let record = load.stop().await?;
        let gap = record.longest_gap(struck).context("a gap")?.length();
        pauses.push(gap.saturating_sub(EVERY).as_secs_f64());
        anyhow::ensure!(c.primary().await? == primary, "the primary moved");
        c.restart_fallen()?;
        c.wait_healthy(WITHIN).await?;
    }
    Ok(vec![
        Figure::new("raft leader killed (not primary)", Unit::Seconds, pauses)
            .below(None, Some(0.1))
            .note("the longest pause between two acknowledgements, less the client's own 10 ms"),
    ])
}

fn gaps(title: &str, rounds: &[Round], median: f64, worst: f64) -> Figure {
    let seconds = rounds.iter().map(|round| round.gap).collect();
    let steps: Vec<_> = rounds.iter().map(|round| round.steps.clone()).collect();
    Figure::new(title, Unit::Seconds, seconds)
        .below(Some(median), Some(worst))
        .with_steps(&steps)
}

async fn repeat(
    cluster: &mut Cluster,
    fault: Fault,
    rounds: usize,
    second: Second,
) -> anyhow::Result<Vec<Round>> {
    let mut all = Vec::new();
    for number in 0..rounds {
        let round = one(cluster, fault, number, second).await;
        let round = round.with_context(|| format!("round {} of {fault:?}", number + 1))?;
        let steps: Vec<_> = round
            .steps
            .iter()
            .map(|(name, milliseconds)| format!("{name} {milliseconds}"))
            .collect();
        eprintln!(
            "  {fault:?} {}: {:.3} s ({})",
            number + 1,
            round.gap,
            steps.join(", ")
        );
        all.push(round);
    }
    Ok(all)
}

async fn one(
    cluster: &mut Cluster,
    fault: Fault,
    number: usize,
    second: Second,
) -> anyhow::Result<Round> {
    let victim = fault.victim(cluster).await?;
    if fault == Fault::SidecarKilled {
        leader_elsewhere(cluster, &victim).await?;
    }
    let known = cluster.history().await?.len();
    let survivors = cluster.read_write_except(&[&victim])?;
    let port = survivors
        .into_iter()
        .nth(number % 2)
        .context("two survivors")?;
    let load = begin(port, number).await?;
    let bystander = bystander(cluster, &victim, number, second).await?;
    let (in_load, struck) = (load.now(), Instant::now());
    fault.strike(cluster, &victim).await?;
    load.advance(AFTER, WITHIN).await?;
    fault.heal(cluster, &victim, struck).await?;
    let healed = Instant::now();
    cluster.wait_healthy(WITHIN).await?;
    let origin = load.origin();
    let record = load.stop().await?;
    let old = match bystander {
        Some(client) => Some(client.end().await?),
        None => None,
    };
    let gap = record
        .longest_gap(in_load)
        .context("no acknowledgements around the fault")?;
    Ok(Round {
        gap: gap.length().as_secs_f64(),
        refused: refused(&record),
        opened: origin + gap.to,
        struck,
        healed,
        steps: steps_since(cluster, known).await?,
        old,
    })
}

fn refused(record: &Record) -> f64 {
    record.refused_connections() as f64
}

async fn begin(port: Target, number: usize) -> anyhow::Result<Load> {
    let mut options = LoadOptions::new(i32::try_from(number)? * 2, vec![port]);
    options.positions = false;
    let target = options.targets[0].clone();
    target.run(crate::load::TABLE).await?;
    // Rounds of one cluster would meet each other's keys.
    target.run("TRUNCATE pgha_load").await?;
    let load = Load::resume(options);
    load.advance(BEFORE, WITHIN).await?;
    Ok(load)
}

async fn bystander(
    cluster: &Cluster,
    victim: &str,
    number: usize,
    second: Second,
) -> anyhow::Result<Option<SecondClient>> {
    let mut port = cluster.read_write(victim)?;
    match second {
        Second::None => return Ok(None),
        Second::Outside => {}
        Second::Inside => port.namespace = cluster.member(victim)?.namespace.clone(),
    }
    SecondClient::begin(port, i32::try_from(number)? * 2 + 1)
        .await
        .map(Some)
}

/// Steps of the first change of primary that the journal has beyond those known before.
async fn steps_since(cluster: &Cluster, known: usize) -> anyhow::Result<Vec<(String, u64)>> {
    let history = cluster.history().await?;
    Ok(history
        .get(known)
        .map(|entry| entry.steps())
        .unwrap_or_default())
}

/// Waits until a member other than that one leads the Raft group; its name.
async fn leader_elsewhere(cluster: &Cluster, name: &str) -> anyhow::Result<String> {
    wait::until(
        &format!("a raft leader other than {name}"),
        WITHIN,
        || async {
            let leader = cluster
                .status()
                .await?
                .raft
                .leader
                .context("no raft leader")?;
            anyhow::ensure!(leader != name, "{name} leads");
            Ok(leader)
        },
    )
    .await
}
