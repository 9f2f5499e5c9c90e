//! The part of `make chaos` that fits into every test run: faults that no other test has, on clusters
//! that each endure several, under writers, a reader of everything and the sampler.

use std::time::Duration;

use pgha_chaos::nemesis::{self, Dose, Entry, Kind, Place, Schedule};
use pgha_chaos::part::Part;
use pgha_chaos::round::{self, Outcome, Verdict};
use pgha_chaos::{Cluster, ClusterOptions, campaign, netns, skip, wait};

/// Another one is another test: each schedule is drawn from it.
const SEED: u64 = 1;
/// On a machine that is busy with other tests.
const WITHIN: Duration = Duration::from_secs(60);

/// A test run has to stay one that people wait for.
static PART: Part = Part::new("chaos", Duration::from_secs(8 * 60));

/// One cluster through one round of each. The first of a kind strikes the primary, where it may strike anybody.
async fn endure(test: &str, kinds: &[Kind]) -> anyhow::Result<()> {
    let drawn = |(at, kind): (usize, &Kind)| {
        let before = kinds[..at].iter().filter(|other| *other == kind);
        Schedule::draw(*kind, SEED, before.count() as u64)
    };
    let schedules: Vec<Schedule> = kinds.iter().enumerate().map(drawn).collect();
    play(test, &schedules).await.map(drop)
}

/// One cluster through all of them; a round that proves nothing is a failure, too.
async fn play(test: &str, schedules: &[Schedule]) -> anyhow::Result<Vec<Outcome>> {
    if netns::skipped(test) {
        return Ok(Vec::new());
    }
    let mut outcomes = Vec::new();
    let mut cluster = Cluster::start_with(round::cluster()).await?;
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
    let _turn = PART.begin();
    let kinds = [
        Kind::SendingCut,
        Kind::ReceivingCut,
        Kind::PairCut,
        Kind::RaftCut,
        Kind::ReplicationCut,
        Kind::PacketLoss,
        Kind::Latency,
        Kind::FlappingCut,
        Kind::ClientCut,
    ];
    endure("links_that_fail_by_halves", &kinds).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_stop_or_end() -> anyhow::Result<()> {
    let _turn = PART.begin();
    let kinds = [
        Kind::GuardFrozen,
        Kind::AllFrozen,
        Kind::BackendKilled,
        Kind::PostmasterFrozen,
        Kind::PostgresFrozen,
        Kind::WallClockRate,
        Kind::AllKilled,
    ];
    endure("processes_that_stop_or_end", &kinds).await
}

/// Until it is fenced, who was promoted by hand takes writes beside the primary from whoever comes
/// straight to it: no promise covers that, and who looks for two writers has to see them. A frozen
/// sidecar fences nobody, so that they are there for longer than between two looks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_are_seen_where_there_are_two() -> anyhow::Result<()> {
    let _turn = PART.begin();
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
    let _turn = PART.begin();
    let kinds = [
        Kind::PostgresFsyncError,
        Kind::StoreFsyncError,
        Kind::StoreDamaged,
        Kind::StoreRestored,
        Kind::CloneInterrupted,
        Kind::RewindInterrupted,
        Kind::WalDiskFull,
        Kind::StoreDiskFull,
        Kind::StoreDeleted,
    ];
    endure("disks_and_jobs_that_fail", &kinds).await
}

/// A disk that is filled and has no WAL on it fills nobody's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_that_was_copied_anew_has_its_wal_on_the_small_disk_again() -> anyhow::Result<()> {
    let _turn = PART.begin();
    let test = "data_that_was_copied_anew_has_its_wal_on_the_small_disk_again";
    if let Some(reason) = Kind::WalDiskFull.obstacle() {
        skip::say(test, reason);
        return Ok(());
    }
    let mut cluster = Cluster::start_with(ClusterOptions::new(3)).await?;
    let mut schedule = Schedule::draw(Kind::WalDiskFull, SEED, 0);
    schedule.entries[0].place = Place::Replica(0);
    let lay = nemesis::prepare(&mut cluster, &schedule).await?;
    let victim = lay.names_at(Place::Replica(0)).remove(0);
    let wal = cluster.member(&victim)?.postgres_directory().join("pg_wal");
    let first = wal.read_link()?;
    cluster.member(&victim)?.remove_postgres_directory()?;
    wait::until_true("data with its WAL within it", WITHIN, || {
        wal.is_dir() && !wal.is_symlink()
    })
    .await?;
    cluster.wait_healthy(WITHIN).await?;
    nemesis::prepare(&mut cluster, &schedule).await?;
    let second = wal.read_link()?;
    assert_eq!(first.parent(), second.parent());
    assert_ne!(first, second);
    cluster.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_at_a_time() -> anyhow::Result<()> {
    let _turn = PART.begin();
    let kinds = [Kind::Mixed, Kind::Mixed, Kind::Mixed];
    endure("several_at_a_time", &kinds).await
}
