//! A planned change of primary: nobody who connects is turned away, and what cannot be done changes
//! nothing.

use std::time::Duration;

use nix::sys::signal::Signal;
use pgha_chaos::load::{Load, LoadOptions, Record};
use pgha_chaos::member::Part;
use pgha_chaos::process;
use pgha_chaos::sql::{Session, Target};
use pgha_chaos::storm::Storm;
use pgha_chaos::trial::judge;
use pgha_chaos::{Cluster, ClusterOptions, wait};

const WITHIN: Duration = Duration::from_secs(90);

/// Long enough that a machine busy with other tests causes no failover of its own.
fn options() -> ClusterOptions {
    ClusterOptions::new(3).initial("lease_ms", 6_000)
}

/// A client at each member's read-write port, in plain and with TLS by turns.
fn at_all_ports(cluster: &Cluster) -> anyhow::Result<Vec<Vec<Target>>> {
    let tls = cluster.tls()?;
    let plain = cluster.read_write_except(&[])?.into_iter();
    Ok(plain
        .map(|plain| {
            let encrypted = Target {
                tls: Some(tls.clone()),
                ..plain.clone()
            };
            vec![plain, encrypted]
        })
        .collect())
}

/// Three in a row and back, the first to whoever is best.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_new_connection_is_refused_or_closed() -> anyhow::Result<()> {
    let cluster = Cluster::start_with(options().with_tls()).await?;
    let load = Load::start(LoadOptions::new(1, cluster.read_write_except(&[])?)).await?;
    let storm = Storm::start(at_all_ports(&cluster)?);
    load.advance(30, WITHIN).await?;
    let first = cluster.primary().await?;
    let mut served = vec![first.clone()];
    for step in 0..4 {
        storm.advance(2, WITHIN).await?;
        let target = match step {
            0 => None,
            3 => Some(first.clone()),
            _ => another(&cluster, &served),
        };
        let named = target.iter().flat_map(|name| ["--to", name]);
        let order: Vec<&str> = ["switchover", "--yes"].into_iter().chain(named).collect();
        cluster.ctl().done(&order).await?;
        storm.advance(2, WITHIN).await?;
        let now = cluster.wait_healthy(WITHIN).await?.primary;
        let now = now.unwrap_or_default();
        assert_eq!(target.unwrap_or_else(|| now.clone()), now);
        served.push(now);
    }
    load.advance(30, WITHIN).await?;
    let record = load.stop().await?;
    for met in storm.stop().await? {
        assert!(met.failed.is_empty() && met.astray == 0, "{met:?}");
    }
    nobody_was_refused(&record)?;
    let last = cluster
        .ends_in_one_primary_and_all_streaming(WITHIN)
        .await?;
    assert_eq!(last, first);
    let history = cluster.history().await?;
    let primaries: Vec<&String> = history.iter().map(|entry| &entry.primary).collect();
    assert_eq!(primaries, served.iter().collect::<Vec<_>>());
    for entry in &history[1..] {
        assert_eq!(entry.cause, "switchover", "{entry:?}");
        assert_eq!(entry.lost_bytes.unwrap_or(0), 0, "{entry:?}");
    }
    judge(&cluster, record, true).await?;
    // All were primary, and a slot that nobody reads keeps WAL.
    for name in cluster.names().iter().filter(|name| **name != last) {
        let server = cluster.direct(name)?;
        let sql = "SELECT count(*) FROM pg_replication_slots";
        wait::until("a replica without slots", WITHIN, || async {
            let slots: i64 = server.value(sql).await?;
            anyhow::ensure!(slots == 0, "{name} has {slots} slots");
            Ok(())
        })
        .await?;
    }
    cluster.finish();
    Ok(())
}

/// Neither the present primary nor the first of all.
fn another(cluster: &Cluster, served: &[String]) -> Option<String> {
    let taken = [served.first(), served.last()];
    let mut others = cluster.names().into_iter();
    others.find(|name| !taken.contains(&Some(name)))
}

/// The load gives up after a second, which is its own doing; a session that ends while it is being
/// prepared was not refused.
fn nobody_was_refused(record: &Record) -> anyhow::Result<()> {
    let own = |kind: &str| kind == "silent" || kind.starts_with("prepare: ");
    let refused = record.failed_connections.keys().find(|kind| !own(kind));
    anyhow::ensure!(refused.is_none(), "{:?}", record.failed_connections);
    Ok(())
}

/// What must be as before.
#[derive(Debug, PartialEq, Eq)]
struct Untouched {
    primary: Option<String>,
    epoch: Option<u64>,
    entries: usize,
    started: String,
}

async fn untouched(cluster: &Cluster, primary: &str) -> anyhow::Result<Untouched> {
    let status = cluster.status().await?;
    let started = "SELECT pg_postmaster_start_time()::text";
    Ok(Untouched {
        primary: status.primary,
        epoch: status.epoch,
        entries: cluster.history().await?.len(),
        started: cluster.direct(primary)?.value(started).await?,
    })
}

async fn is_unreachable(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    wait::until("the silence to be noticed", WITHIN, || async {
        let status = cluster.status().await?;
        let state = status.member(name).map(|member| member.state.clone());
        anyhow::ensure!(state.as_deref() == Some("unreachable"), "{state:?}");
        Ok(())
    })
    .await
}

/// The refusals that need no fault are among the orders of `bad_orders.rs`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_switchover_changes_nothing() -> anyhow::Result<()> {
    let mut cluster = Cluster::start_with(options().initial("max_lag_on_failover", "1MiB")).await?;
    let primary = cluster.primary().await?;
    let mut others = cluster.names().into_iter().filter(|name| *name != primary);
    let (Some(one), Some(other)) = (others.next(), others.next()) else {
        anyhow::bail!("two replicas are needed")
    };
    let before = untouched(&cluster, &primary).await?;
    let port = cluster.read_write(&one)?;
    let witness = port.connect(WITHIN).await?;
    witness
        .run("CREATE TABLE kept (id int); BEGIN; INSERT INTO kept VALUES (1)")
        .await?;

    cluster.member_mut(&other)?.kill(Part::Node)?;
    is_unreachable(&cluster, &other).await?;
    refused(&cluster, Some(&other), &["does not answer at"]).await?;
    assert_eq!(untouched(&cluster, &primary).await?, before);
    cluster.restart_fallen()?;
    cluster.wait_healthy(WITHIN).await?;

    cluster.member(&other)?.freeze(Part::Node)?;
    is_unreachable(&cluster, &other).await?;
    refused(&cluster, Some(&other), &["does not answer at"]).await?;
    let receivers = cluster.member(&one)?.backends("walreceiver");
    assert!(!receivers.is_empty(), "{one} has no WAL receiver");
    process::signal_all(&receivers, Signal::SIGSTOP);
    fall_behind(&cluster, &primary, &one).await?;
    refused(&cluster, Some(&one), &["bytes behind"]).await?;
    let words = ["no replica is fit", one.as_str(), other.as_str()];
    refused(&cluster, None, &words).await?;
    process::signal_all(&receivers, Signal::SIGCONT);
    cluster.member(&other)?.thaw(Part::Node)?;

    cluster.wait_healthy(WITHIN).await?;
    assert_eq!(untouched(&cluster, &primary).await?, before);
    still_the_same(&cluster, &primary, witness).await?;
    cluster
        .ends_in_one_primary_and_all_streaming(WITHIN)
        .await?;
    cluster.finish();
    Ok(())
}

async fn refused(cluster: &Cluster, target: Option<&str>, words: &[&str]) -> anyhow::Result<()> {
    let named = target.into_iter().flat_map(|name| ["--to", name]);
    let order: Vec<&str> = ["switchover", "--yes"].into_iter().chain(named).collect();
    let answer = cluster.ctl().run(&order).await?;
    let words: Vec<&str> = words.iter().copied().chain(target).collect();
    answer.refused(1, &words)
}

async fn fall_behind(cluster: &Cluster, primary: &str, name: &str) -> anyhow::Result<()> {
    let port = cluster.read_write(primary)?;
    port.run("CREATE TABLE much AS SELECT repeat('x', 1000) FROM generate_series(1, 3000)")
        .await?;
    wait::until("the lag to show", WITHIN, || async {
        let status = cluster.status().await?;
        let lag = status.member(name).and_then(|member| member.lag_bytes);
        anyhow::ensure!(lag > Some(1 << 20), "{lag:?}");
        Ok(())
    })
    .await
}

/// The session that was open all the time, in its transaction.
async fn still_the_same(cluster: &Cluster, primary: &str, witness: Session) -> anyhow::Result<()> {
    witness.run("INSERT INTO kept VALUES (2); COMMIT").await?;
    let kept = "SELECT count(*) FROM kept";
    let rows: i64 = cluster.direct(primary)?.value(kept).await?;
    assert_eq!(rows, 2);
    Ok(())
}
