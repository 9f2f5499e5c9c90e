//! A failover that an operator orders: he names the next primary, also where the one before is well, and
//! says himself whether data may be lost for it.

use std::time::Duration;

use anyhow::Context;
use pgha_chaos::history::HistoryEntry;
use pgha_chaos::load::{Load, LoadOptions};
use pgha_chaos::member::Part;
use pgha_chaos::netns::{self, Cut};
use pgha_chaos::status::Status;
use pgha_chaos::trial::judge;
use pgha_chaos::{Cluster, ClusterOptions, wait};
use pgha_core::Lsn;

const WITHIN: Duration = Duration::from_secs(90);
/// Long enough that the order is there before the silence of a host ends its epoch.
const LEASE_MS: u64 = 6_000;
const LAG_MAX: u64 = 1 << 20;

/// A cluster with an empty table that everybody has, its primary and the others.
async fn cluster(key: &str, value: u64) -> anyhow::Result<(Cluster, String, [String; 2])> {
    let options = ClusterOptions::new(3).in_namespaces().initial(key, value);
    let cluster = Cluster::start_with(options).await?;
    let primary = cluster.primary().await?;
    let port = cluster.read_write(&primary)?;
    port.run("CREATE TABLE ordered (n int, filler text)")
        .await?;
    everybody_has(&cluster, 0).await?;
    let others = cluster.names().into_iter().filter(|name| *name != primary);
    let others: Vec<String> = others.collect();
    let others = others.try_into().ok().context("three members")?;
    Ok((cluster, primary, others))
}

async fn everybody_has(cluster: &Cluster, rows: i64) -> anyhow::Result<()> {
    for name in cluster.names() {
        let what = format!("{rows} rows on {name}");
        wait::until(&what, WITHIN, || has(cluster, &name, rows)).await?;
    }
    Ok(())
}

async fn has(cluster: &Cluster, name: &str, rows: i64) -> anyhow::Result<()> {
    let sql = "SELECT count(*) FROM ordered";
    let seen: i64 = cluster.direct(name)?.value(sql).await?;
    anyhow::ensure!(seen == rows, "{name} has {seen} rows");
    Ok(())
}

/// Adds a thousand rows.
async fn write(cluster: &Cluster, through: &str) -> anyhow::Result<()> {
    let port = cluster.read_write(through)?;
    port.run("INSERT INTO ordered SELECT n FROM generate_series(1, 1000) n")
        .await
}

/// Once the command is done the named one is primary, with all that it had and for writes of any client.
async fn fail_over(
    cluster: &Cluster,
    from: &str,
    to: &str,
    accepted: &[&str],
    rows: i64,
) -> anyhow::Result<HistoryEntry> {
    let order = [&["failover", "--to", to, "--yes"], accepted].concat();
    let ctl = cluster.ctl_of(to)?;
    let answer = ctl.done(&order).await?;
    let said = format!("{to} is primary of epoch ");
    anyhow::ensure!(answer.stdout.contains(&said), "{answer:?}");
    let direct = cluster.direct(to)?;
    let recovers: bool = direct.value("SELECT pg_is_in_recovery()").await?;
    anyhow::ensure!(!recovers, "{to} is a replica");
    has(cluster, to, rows).await?;
    cluster
        .read_write(to)?
        .run("DELETE FROM ordered WHERE n < 0")
        .await?;

    let history: Vec<HistoryEntry> = ctl.json(&["history"]).await?;
    let last = history.into_iter().next_back().context("no history")?;
    anyhow::ensure!(last.cause == "operator_failover", "{last:?}");
    anyhow::ensure!(last.primary == to, "{last:?}");
    anyhow::ensure!(last.previous_primary.as_deref() == Some(from), "{last:?}");
    let text = ctl.done(&["explain"]).await?.stdout;
    let why = format!("an operator ordered a failover to {to}");
    anyhow::ensure!(text.contains(&why), "{text}");
    let accepts = text.contains("accepting data loss");
    anyhow::ensure!(accepts != accepted.is_empty(), "{text}");
    Ok(last)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_takes_over_from_who_is_well_and_from_who_is_cut_off() -> anyhow::Result<()> {
    if netns::skipped("it_takes_over_from_who_is_well_and_from_who_is_cut_off") {
        return Ok(());
    }
    let (cluster, first, [one, other]) = cluster("lease_ms", LEASE_MS).await?;
    write(&cluster, &first).await?;
    everybody_has(&cluster, 1000).await?;
    let load = Load::start(LoadOptions::new(1, cluster.read_write_except(&[])?)).await?;
    load.advance(60, WITHIN).await?;
    fail_over(&cluster, &first, &one, &[], 1000).await?;
    load.advance(30, WITHIN).await?;
    cluster.wait_healthy(WITHIN).await?;
    let record = load.stop().await?;
    let last = cluster
        .ends_in_one_primary_and_all_streaming(WITHIN)
        .await?;
    assert_eq!(last, one);
    judge(&cluster, record, false).await?;

    write(&cluster, &one).await?;
    everybody_has(&cluster, 2000).await?;
    // The election of another one would leave the silence the time to end the epoch first.
    wait::until("the Raft lead elsewhere", WITHIN, || async {
        let leader = cluster.status().await?.raft.leader;
        anyhow::ensure!(leader.as_ref().is_some_and(|l| *l != one), "{leader:?}");
        Ok(())
    })
    .await?;
    let network = cluster.network.as_ref().context("no namespaces")?;
    network.cut(Cut::Host(cluster.index(&one)?))?;
    fail_over(&cluster, &one, &other, &[], 2000).await?;
    network.heal()?;
    cluster.wait_healthy(WITHIN).await?;
    let last = cluster
        .ends_in_one_primary_and_all_streaming(WITHIN)
        .await?;
    assert_eq!(last, other);
    everybody_has(&cluster, 2000).await?;
    let history = cluster.history().await?;
    let primaries: Vec<&String> = history.iter().map(|entry| &entry.primary).collect();
    assert_eq!(primaries, [&first, &one, &other]);
    cluster.finish();
    Ok(())
}

/// A row that only that member gets; a position behind the row and before its commit.
async fn write_private(cluster: &Cluster, on: &str) -> anyhow::Result<Lsn> {
    let sql = "INSERT INTO ordered VALUES (1) RETURNING pg_current_wal_insert_lsn()::text";
    let at: String = cluster.direct(on)?.value(sql).await?;
    Ok(at.parse()?)
}

fn told(entry: &HistoryEntry, row: Lsn) -> bool {
    let range = entry.lost_from_lsn.zip(entry.lost_to_lsn);
    range.is_some_and(|(from, to)| from < row && row < to)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_the_limit_it_takes_who_accepts_the_loss_and_the_loss_is_told() -> anyhow::Result<()>
{
    let name = "beyond_the_limit_it_takes_who_accepts_the_loss_and_the_loss_is_told";
    if netns::skipped(name) {
        return Ok(());
    }
    let (mut cluster, first, [one, other]) = cluster("max_lag_on_failover", LAG_MAX).await?;
    write(&cluster, &first).await?;
    everybody_has(&cluster, 1000).await?;
    let network = cluster.network.as_ref().context("no namespaces")?;
    for behind in [&one, &other] {
        let ends = (cluster.index(&first)?, cluster.index(behind)?);
        network.cut(Cut::Replication(ends.0, ends.1))?;
    }
    let begin = write_private(&cluster, &first).await?;
    let much = "INSERT INTO ordered SELECT n, repeat('x', 1000) FROM generate_series(1, 3000) n";
    cluster.direct(&first)?.run(much).await?;
    let end = write_private(&cluster, &first).await?;
    // What is younger than the last renewal nobody else has heard of, and no limit holds for it.
    for heard in [&one, &other] {
        hears_of(&cluster, heard, end).await?;
    }
    cluster.member_mut(&first)?.kill(Part::Node)?;

    nobody_takes_over(&cluster, &one, &other).await?;
    let entry = fail_over(&cluster, &first, &one, &["--allow-data-loss"], 1000).await?;
    assert!(
        told(&entry, begin) && told(&entry, end),
        "{begin} {end} {entry:?}"
    );
    assert_eq!(entry.lost_final, Some(false), "{entry:?}");

    cluster.member_mut(&first)?.start()?;
    cluster.network.as_ref().context("no namespaces")?.heal()?;
    cluster.wait_healthy(WITHIN).await?;
    let last = cluster
        .ends_in_one_primary_and_all_streaming(WITHIN)
        .await?;
    assert_eq!(last, one);
    everybody_has(&cluster, 1000).await?;
    let history = cluster.history().await?;
    let entry = history.last().context("no history")?;
    assert!(told(entry, begin) && told(entry, end), "{entry:?}");
    assert_eq!(entry.lost_final, Some(true), "{entry:?}");
    cluster.finish();
    Ok(())
}

async fn hears_of(cluster: &Cluster, name: &str, end: Lsn) -> anyhow::Result<()> {
    let ctl = cluster.ctl_of(name)?;
    wait::until("what the primary told", WITHIN, || async {
        let shown: serde_json::Value = ctl.json(&["quorum", "show"]).await?;
        let told = shown["primary_flush_lsn"].as_str();
        let told: Lsn = told.with_context(|| shown.to_string())?.parse()?;
        anyhow::ensure!(told > end, "{name} heard of {told}, not of {end}");
        Ok(())
    })
    .await
}

/// Neither by itself nor by an order that accepts no loss, and both say why.
async fn nobody_takes_over(cluster: &Cluster, one: &str, other: &str) -> anyhow::Result<()> {
    let ctl = cluster.ctl_of(one)?;
    // The raft leader decides that; whoever is asked says why.
    for name in [one, other] {
        let asked = cluster.ctl_of(name)?;
        wait::until("the reason", WITHIN, || async {
            let status: Status = asked.json(&["status"]).await?;
            let seen = (status.primary.as_deref(), status.reason.as_deref());
            anyhow::ensure!(seen == (None, Some("lag_too_high")), "{name}: {status:?}");
            Ok(())
        })
        .await?;
    }
    let order = ["failover", "--to", one, "--yes", "--timeout", "4"];
    let answer = ctl.run(&order).await?;
    anyhow::ensure!(answer.code == 4, "{answer:?}");
    for word in [
        "bytes behind",
        "max_lag_on_failover is 1048576",
        "--allow-data-loss",
    ] {
        anyhow::ensure!(answer.stderr.contains(word), "no `{word}` in {answer:?}");
    }
    for name in [one, other] {
        let direct = cluster.direct(name)?;
        let recovers: bool = direct.value("SELECT pg_is_in_recovery()").await?;
        anyhow::ensure!(recovers, "{name} was promoted");
    }
    let history: Vec<HistoryEntry> = ctl.json(&["history"]).await?;
    anyhow::ensure!(history.len() == 1, "{history:?}");
    Ok(())
}
