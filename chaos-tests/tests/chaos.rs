//! The part of `make chaos` that fits into every test run: faults that no other test has, on clusters
//! that each endure several, under writers, a reader of everything and the sampler.

use std::time::Duration;

use pgha_chaos::nemesis::{Dose, Entry, Kind, Place, Schedule};
use pgha_chaos::round::{self, Outcome, Verdict};
use pgha_chaos::{Cluster, ClusterOptions, campaign, netns, skip};

/// Another one is another test: each schedule is drawn from it.
const SEED: u64 = 1;

/// One cluster through one round of each.
async fn endure(test: &str, kinds: &[Kind]) -> anyhow::Result<()> {
    let drawn = |(round, kind): (u64, &Kind)| Schedule::draw(*kind, SEED, round);
    let schedules: Vec<Schedule> = (1..).zip(kinds).map(drawn).collect();
    play(test, &schedules).await.map(drop)
}

/// One cluster through all of them; a round that proves nothing is a failure, too.
async fn play(test: &str, schedules: &[Schedule]) -> anyhow::Result<Vec<Outcome>> {
    if netns::skipped(test) {
        return Ok(Vec::new());
    }
    let mut outcomes = Vec::new();
    let mut cluster = Cluster::start_with(ClusterOptions::new(3).in_namespaces()).await?;
    for (number, schedule) in (1..).zip(schedules) {
        let kind = schedule.kind;
        if let Some(reason) = kind.obstacle() {
            skip::say(&format!("{test}, {}", kind.name()), reason);
            continue;
        }
        eprintln!("{}, {schedule}", kind.name());
        let outcome = round::run(&mut cluster, schedule, number).await?;
        let told = campaign::describe(&outcome);
        eprintln!("  {told}");
        anyhow::ensure!(
            outcome.verdict() == Verdict::Pass,
            "{}: {schedule}: {told}",
            kind.name()
        );
        outcomes.push(outcome);
    }
    cluster.finish();
    Ok(outcomes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_that_fail_by_halves() -> anyhow::Result<()> {
    let kinds = [
        Kind::SendingCut,
        Kind::ReceivingCut,
        Kind::PairCut,
        Kind::RaftCut,
        Kind::ReplicationCut,
        Kind::PacketLoss,
        Kind::Latency,
        Kind::FlappingCut,
    ];
    endure("links_that_fail_by_halves", &kinds).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_stop_or_end() -> anyhow::Result<()> {
    let kinds = [
        Kind::GuardFrozen,
        Kind::AllFrozen,
        Kind::BackendKilled,
        Kind::PostmasterFrozen,
        Kind::AllKilled,
    ];
    endure("processes_that_stop_or_end", &kinds).await
}

/// Until it is fenced, who was promoted by hand takes writes beside the primary from whoever comes
/// straight to it: no promise covers that, and who looks for two writers has to see them. A frozen
/// sidecar fences nobody, so that they are there for longer than between two looks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_are_seen_where_there_are_two() -> anyhow::Result<()> {
    let entry = |at_ms, kind, length_ms| Entry {
        at: Duration::from_millis(at_ms),
        kind,
        place: Place::Replica(0),
        length: Duration::from_millis(length_ms),
        dose: Dose::None,
    };
    let schedule = Schedule {
        seed: SEED,
        kind: Kind::PromotedByHand,
        entries: vec![
            entry(500, Kind::SidecarFrozen, 3_500),
            entry(1_000, Kind::PromotedByHand, 0),
        ],
    };
    let test = "two_writers_are_seen_where_there_are_two";
    for outcome in play(test, &[schedule]).await? {
        let seen = |what: &String| what.contains("two PostgreSQL completed writes");
        anyhow::ensure!(outcome.uncovered.iter().any(seen), "{outcome:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disks_and_jobs_that_fail() -> anyhow::Result<()> {
    let kinds = [
        Kind::PostgresFsyncError,
        Kind::StoreFsyncError,
        Kind::StoreDamaged,
        Kind::StoreRestored,
        Kind::CloneInterrupted,
        Kind::RewindInterrupted,
        Kind::WalDiskFull,
    ];
    endure("disks_and_jobs_that_fail", &kinds).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_at_a_time() -> anyhow::Result<()> {
    let kinds = [Kind::Mixed, Kind::Mixed, Kind::Mixed];
    endure("several_at_a_time", &kinds).await
}
