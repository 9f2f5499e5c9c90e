//! Lines that share a timeline number, or a history that one of them has not lived: they are told
//! apart before a receiver attaches, and no twin ever streams or serves (faults M15, M16, M25).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use pgha_chaos::history::HistoryEntry;
use pgha_chaos::member::Part;
use pgha_chaos::netns::{self, Cut};
use pgha_chaos::sql::Target;
use pgha_chaos::{Cluster, ClusterOptions, faults, wait};
use pgha_core::Lsn;

const WITHIN: Duration = Duration::from_secs(90);
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// What only the line that is given up has.
const PRIVATE: &str = "SELECT count(*) FROM twin WHERE note = 'private'";

/// A cluster with an empty table that everybody has.
async fn cluster() -> anyhow::Result<Cluster> {
    let cluster = Cluster::start_with(ClusterOptions::new(3).in_namespaces()).await?;
    let primary = cluster.primary().await?;
    let direct = cluster.direct(&primary)?;
    direct.run("CREATE TABLE twin (note text)").await?;
    for name in cluster.names() {
        rows_on(&cluster, &name, 0).await?;
    }
    Ok(cluster)
}

async fn rows_on(cluster: &Cluster, name: &str, rows: i64) -> anyhow::Result<()> {
    let target = cluster.direct(name)?;
    let what = format!("{rows} rows on {name}");
    wait::until(&what, WITHIN, || async {
        let seen: i64 = target.value("SELECT count(*) FROM twin").await?;
        anyhow::ensure!(seen == rows, "{seen} rows");
        Ok(())
    })
    .await
}

/// Cuts the streams between two members, and with the third too if `all`.
fn cut_streams(cluster: &Cluster, pairs: &[(&str, &str)]) -> anyhow::Result<()> {
    let network = cluster.network.as_ref().context("no namespaces")?;
    pairs.iter().try_for_each(|(one, other)| {
        let (one, other) = (cluster.index(one)?, cluster.index(other)?);
        network.cut(Cut::Replication(one, other))
    })
}

/// Writes the row that only `on` gets; a position behind the row and before its commit. What is flushed
/// would be further: up to the end of a page, with half of a record that nobody else ever finds.
async fn write_private(cluster: &Cluster, on: &str) -> anyhow::Result<Lsn> {
    let session = cluster.direct(on)?.connect(CONNECT_WITHIN).await?;
    let at: String = session
        .value("INSERT INTO twin VALUES ('private') RETURNING pg_current_wal_insert_lsn()::text")
        .await?;
    Ok(at.parse()?)
}

/// Looks at the twin and through every read-only port all the time.
struct Watch {
    stop: Arc<AtomicBool>,
    /// How often the twin answered.
    answers: Arc<AtomicU32>,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Watch {
    fn begin(cluster: &Cluster, twin: &str) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let answers = Arc::new(AtomicU32::new(0));
        let twin = cluster.direct(twin)?;
        let names = cluster.names();
        let ports: Result<Vec<Target>, _> = names.iter().map(|n| cluster.read_only(n)).collect();
        let (stopped, seen) = (Arc::clone(&stop), Arc::clone(&answers));
        let task = tokio::spawn(watch(twin, ports?, stopped, seen));
        Ok(Self {
            stop,
            answers,
            task,
        })
    }

    /// Whoever was never asked was not watched.
    async fn end(self) -> anyhow::Result<()> {
        wait::until_true("an answer of the twin", WITHIN, || {
            self.answers.load(Ordering::Relaxed) > 0 || self.task.is_finished()
        })
        .await?;
        self.stop.store(true, Ordering::Relaxed);
        self.task.await?
    }
}

async fn watch(
    twin: Target,
    ports: Vec<Target>,
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU32>,
) -> anyhow::Result<()> {
    // One statement: the row and the stream are seen at one moment.
    let mixed = format!(
        "SELECT ({PRIVATE}), EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')"
    );
    while !stop.load(Ordering::Relaxed) {
        if let Ok(session) = twin.connect(CONNECT_WITHIN).await
            && let Ok(rows) = session.rows(&mixed).await
        {
            let (private, streams): (i64, bool) = (rows[0].get(0), rows[0].get(1));
            anyhow::ensure!(
                private == 0 || !streams,
                "the twin streams with {private} rows of its own"
            );
            answers.fetch_add(1, Ordering::Relaxed);
        }
        for port in &ports {
            if let Ok(seen) = port.value::<i64>(PRIVATE).await {
                anyhow::ensure!(seen == 0, "{:?} serves the twin's row", port.address);
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// The range that the journal says is lost has the private row.
fn reported(journal: &[HistoryEntry], row: Lsn) -> anyhow::Result<()> {
    let mut lost = journal
        .iter()
        .filter(|entry| entry.lost_final == Some(true))
        .filter_map(|entry| Some((entry.lost_from_lsn?, entry.lost_to_lsn?)));
    anyhow::ensure!(
        lost.any(|(from, to)| from < row && row < to),
        "{row} is in no final lost range of {journal:#?}"
    );
    Ok(())
}

/// All hold the same rows, and none of them the twin's.
async fn ends_as_one(cluster: &Cluster, rows: i64) -> anyhow::Result<()> {
    cluster
        .ends_in_one_primary_and_all_streaming(WITHIN)
        .await?;
    for name in cluster.names() {
        rows_on(cluster, &name, rows).await?;
        let private: i64 = cluster.direct(&name)?.value(PRIVATE).await?;
        anyhow::ensure!(private == 0, "{name} has {private} rows of the twin");
    }
    Ok(())
}

/// All but that one.
fn others(cluster: &Cluster, one: &str) -> Vec<String> {
    let names = cluster.names().into_iter();
    names.filter(|name| name != one).collect()
}

/// The other member of three.
fn third(cluster: &Cluster, one: &str, other: &str) -> anyhow::Result<String> {
    let mut names = cluster.names().into_iter();
    names
        .find(|n| n != one && n != other)
        .context("three members")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_double_failover_makes_no_twins() -> anyhow::Result<()> {
    if netns::skipped("a_double_failover_makes_no_twins") {
        return Ok(());
    }
    let mut cluster = cluster().await?;
    let first = cluster.primary().await?;
    let others = others(&cluster, &first);
    // Both can take over from the first, neither gets anything from the other.
    cut_streams(&cluster, &[(&others[0], &others[1])])?;
    cluster.member_mut(&first)?.kill(Part::Node)?;
    let twin = cluster.wait_primary_other_than(&first, WITHIN).await?;
    let row = write_private(&cluster, &twin).await?;
    cluster.member_mut(&twin)?.kill(Part::Node)?;
    cluster.member_mut(&first)?.start()?;
    let next = cluster.wait_primary_other_than(&twin, WITHIN).await?;
    let direct = cluster.direct(&next)?;
    direct.run("INSERT INTO twin VALUES ('kept')").await?;

    let watch = Watch::begin(&cluster, &twin)?;
    cluster.network.as_ref().context("no namespaces")?.heal()?;
    cluster.member_mut(&twin)?.start()?;
    cluster.wait_healthy(WITHIN).await?;
    ends_as_one(&cluster, 1).await?;
    watch.end().await?;
    reported(&cluster.history().await?, row)?;
    cluster.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_history_is_not_followed() -> anyhow::Result<()> {
    if netns::skipped("a_frozen_history_is_not_followed") {
        return Ok(());
    }
    let mut cluster = cluster().await?;
    let first = cluster.primary().await?;
    let others = others(&cluster, &first);
    let (twin, behind) = (others[0].clone(), others[1].clone());
    // Only the twin receives the rows, so it is promoted, from further on than the other ever was.
    cut_streams(&cluster, &[(&first, &behind), (&twin, &behind)])?;
    let rows = "INSERT INTO twin SELECT 'private' FROM generate_series(1, 1999)";
    cluster.direct(&first)?.run(rows).await?;
    rows_on(&cluster, &twin, 1999).await?;
    cluster.member_mut(&first)?.kill(Part::Node)?;
    let promoted = cluster.wait_primary_other_than(&first, WITHIN).await?;
    assert_eq!(promoted, twin);
    let row = write_private(&cluster, &twin).await?;
    copy_history(&cluster, &twin, &behind)?;
    cluster.member_mut(&twin)?.kill(Part::Node)?;
    // The first has a vote, and nothing to be promoted from.
    cluster.member(&first)?.remove_postgres_directory()?;
    cluster.member_mut(&first)?.start()?;
    let next = cluster.wait_primary_other_than(&twin, WITHIN).await?;
    assert_eq!(next, third(&cluster, &first, &twin)?);
    let direct = cluster.direct(&next)?;
    direct.run("INSERT INTO twin VALUES ('kept')").await?;
    lived_history(&cluster, &next)?;

    let watch = Watch::begin(&cluster, &twin)?;
    cluster.network.as_ref().context("no namespaces")?.heal()?;
    cluster.member_mut(&twin)?.start()?;
    cluster.wait_healthy(WITHIN).await?;
    ends_as_one(&cluster, 1).await?;
    watch.end().await?;
    reported(&cluster.history().await?, row)?;
    cluster.finish();
    Ok(())
}

/// It is on the number that the next primary was given, and its number proves nothing: what it alone had
/// is told by where its own history left the line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promotion_by_hand_hides_no_tail() -> anyhow::Result<()> {
    if netns::skipped("a_promotion_by_hand_hides_no_tail") {
        return Ok(());
    }
    let cluster = cluster().await?;
    let first = cluster.primary().await?;
    let others = others(&cluster, &first);
    cut_streams(&cluster, &[(&first, &others[0]), (&first, &others[1])])?;
    let row = write_private(&cluster, &first).await?;
    let network = cluster.network.as_ref().context("no namespaces")?;
    network.cut(Cut::Host(cluster.index(&first)?))?;
    let next = cluster.wait_primary_other_than(&first, WITHIN).await?;
    let direct = cluster.direct(&next)?;
    direct.run("INSERT INTO twin VALUES ('kept')").await?;

    let fenced = cluster.direct(&first)?;
    wait::until("a fenced standby", WITHIN, || async {
        let recovers: bool = fenced.value("SELECT pg_is_in_recovery()").await?;
        anyhow::ensure!(recovers, "it is not in recovery");
        Ok(())
    })
    .await?;
    faults::pg_ctl(&cluster, &first, &["promote"])?;
    let history = |name: &str| {
        let path = cluster.member(name)?.postgres_directory();
        let file = path.join("pg_wal/00000002.history");
        std::fs::read(&file).with_context(|| file.display().to_string())
    };
    wait::until("the same number twice", WITHIN, || async {
        anyhow::ensure!(history(&first)? != history(&next)?, "one history");
        Ok(())
    })
    .await?;

    network.heal()?;
    cluster.wait_healthy(WITHIN).await?;
    ends_as_one(&cluster, 1).await?;
    reported(&cluster.history().await?, row)?;
    cluster.finish();
    Ok(())
}

/// As a receiver does that fetches the history of its upstream and dies before it gets that far.
fn copy_history(cluster: &Cluster, from: &str, to: &str) -> anyhow::Result<()> {
    let file = "pg_wal/00000002.history";
    let text = std::fs::read(cluster.member(from)?.postgres_directory().join(file))?;
    let target = cluster.member(to)?.postgres_directory().join(file);
    if target.exists() {
        return Ok(());
    }
    cluster.account.file(&target, &text, 0o600)
}

/// The new line comes out of the root, not out of the twin that it never followed.
fn lived_history(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    let path = cluster.member(name)?.postgres_directory();
    let text = std::fs::read_to_string(path.join("pg_wal/00000003.history"))?;
    let parents: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    anyhow::ensure!(
        parents == ["1"],
        "timeline 3 says it comes from {parents:?}"
    );
    Ok(())
}
