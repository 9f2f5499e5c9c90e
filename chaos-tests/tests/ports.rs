//! The ports of a cluster of three, from every member: where reads, writes and cancel requests
//! arrive, encrypted or not.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::Signal;
use pgha_chaos::sql::{Session, Target};
use pgha_chaos::{Cluster, ClusterOptions, plain, process, wait};

const WITHIN: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(5);
/// More sessions than a fair choice leaves to one of two replicas.
const SESSIONS: usize = 8;
/// The port of the very PostgreSQL that serves a session, and whether it is a replica.
const WHERE: &str = "SELECT inet_server_port(), pg_is_in_recovery()";
const CANCELED: &str = "57014";

async fn whereabouts(session: &Session) -> anyhow::Result<(u16, bool)> {
    let rows = session.rows(WHERE).await?;
    let row = rows.first().context("no row")?;
    Ok((u16::try_from(row.try_get::<_, i32>(0)?)?, row.try_get(1)?))
}

/// PostgreSQL's own ports, by member.
fn servers(cluster: &Cluster) -> BTreeMap<u16, String> {
    let members = cluster.members.iter();
    members
        .map(|member| (member.addresses.postgres.port(), member.name.clone()))
        .collect()
}

fn others(cluster: &Cluster, name: &str) -> Vec<String> {
    let names = cluster.names().into_iter();
    names.filter(|other| other != name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_sessions_and_cancel_requests_arrive() -> anyhow::Result<()> {
    let cluster = Cluster::start_with(ClusterOptions::new(3).with_tls()).await?;
    let primary = cluster.primary().await?;
    reads_are_spread(&cluster, &primary).await?;
    writes_arrive(&cluster, &primary).await?;
    for name in cluster.names() {
        let by = others(&cluster, &name).remove(0);
        let (session, canceler) = (cluster.read_write(&name)?, cluster.read_write(&by)?);
        let at = cancel(&cluster, session, canceler).await;
        let at = at.with_context(|| format!("read-write port of {name}, cancelled by {by}"))?;
        assert_eq!(at, primary, "read-write port of {name}");
        let (session, canceler) = (cluster.read_only(&name)?, cluster.read_only(&by)?);
        let at = cancel(&cluster, session, canceler).await;
        let at = at.with_context(|| format!("read-only port of {name}, cancelled by {by}"))?;
        assert_ne!(at, primary, "read-only port of {name}");
    }
    encrypted(&cluster, &primary).await?;
    cluster
        .ends_in_one_primary_and_all_streaming(WITHIN)
        .await?;
    cluster.finish();
    Ok(())
}

async fn reads_are_spread(cluster: &Cluster, primary: &str) -> anyhow::Result<()> {
    let servers = servers(cluster);
    let replicas: BTreeSet<String> = others(cluster, primary).into_iter().collect();
    for name in cluster.names() {
        let port = cluster.read_only(&name)?;
        // Each member hears for itself that a replica streams.
        wait::until(&format!("both replicas from {name}"), WITHIN, || async {
            let mut open = Vec::new();
            let mut met = BTreeSet::new();
            for _ in 0..SESSIONS {
                let session = port.connect(CONNECT).await?;
                let (server, in_recovery) = whereabouts(&session).await?;
                let server = servers.get(&server).context("nobody's port")?.clone();
                anyhow::ensure!(in_recovery, "{server} is no replica");
                met.insert(server);
                open.push(session);
            }
            anyhow::ensure!(met == replicas, "{met:?}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn writes_arrive(cluster: &Cluster, primary: &str) -> anyhow::Result<()> {
    let servers = servers(cluster);
    let direct = cluster.direct(primary)?;
    direct.run("CREATE TABLE arrived (by text)").await?;
    for name in cluster.names() {
        let session = cluster.read_write(&name)?.connect(CONNECT).await?;
        let (server, in_recovery) = whereabouts(&session).await?;
        assert!(!in_recovery);
        assert_eq!(servers.get(&server).map(String::as_str), Some(primary));
        session
            .run(&format!("INSERT INTO arrived VALUES ('{name}')"))
            .await?;
    }
    let by = direct
        .connect(CONNECT)
        .await?
        .rows("SELECT by FROM arrived")
        .await?;
    let by: BTreeSet<String> = by.iter().map(|row| row.get(0)).collect();
    assert_eq!(by, cluster.names());
    Ok(())
}

/// A statement that never ends by itself is ended through `canceler`; the member that ran it.
async fn cancel(cluster: &Cluster, port: Target, canceler: Target) -> anyhow::Result<String> {
    let session = port.connect(CONNECT).await?;
    let (server, _) = whereabouts(&session).await?;
    let member = servers(cluster).get(&server).context("whose?")?.clone();
    let pid: i32 = session.value("SELECT pg_backend_pid()").await?;
    let token = session.client().cancel_token();
    let asleep = tokio::spawn(async move {
        let ended = session.client().batch_execute("SELECT pg_sleep(600)").await;
        (session, ended)
    });
    sleeps(cluster, &member, &format!("pid = {pid}")).await?;
    canceler.cancel(&token).await;
    let (session, ended) = tokio::time::timeout(WITHIN, asleep)
        .await
        .context("the statement was not cancelled")??;
    let error = ended.err().context("600 s are not over")?;
    let code = error.code().map(|state| state.code().to_owned());
    anyhow::ensure!(code.as_deref() == Some(CANCELED), "{error}");
    // The statement, and not the session.
    anyhow::ensure!(whereabouts(&session).await?.0 == server);
    Ok(member)
}

/// Waits until PostgreSQL itself shows the sleeper.
async fn sleeps(cluster: &Cluster, member: &str, which: &str) -> anyhow::Result<()> {
    let direct = cluster.direct(member)?;
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity \
         WHERE state = 'active' AND wait_event = 'PgSleep' AND {which}"
    );
    wait::until("the statement to show", WITHIN, || async {
        let found: i64 = direct.value(&sql).await?;
        anyhow::ensure!(found == 1, "{found}");
        Ok(())
    })
    .await
}

async fn encrypted(cluster: &Cluster, primary: &str) -> anyhow::Result<()> {
    let ssl = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    for name in cluster.names() {
        for port in [cluster.read_write(&name)?, cluster.read_only(&name)?] {
            // Verified against PostgreSQL's own certificate: nobody is in between.
            let tls = Some(cluster.tls()?);
            let answer: bool = Target { tls, ..port }.value(ssl).await?;
            assert!(answer, "{name}");
        }
        let psql = psql(cluster, &cluster.read_write(&name)?, ssl)?;
        let output = psql.wait_with_output()?;
        assert_eq!(output.stdout, b"t\n", "{output:?}");

        let statement = format!("SELECT pg_sleep(600) /* through {name} */");
        let psql = psql_of(cluster, &name, &statement)?;
        sleeps(cluster, primary, &format!("query = '{statement}'")).await?;
        // What Ctrl-C does: libpq sends the request over a connection of its own, in plain.
        process::signal(i32::try_from(psql.id())?, Signal::SIGINT);
        let output = tokio::task::spawn_blocking(|| psql.wait_with_output()).await??;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(CANCELED), "{output:?}");
    }
    Ok(())
}

fn psql_of(cluster: &Cluster, name: &str, sql: &str) -> anyhow::Result<std::process::Child> {
    psql(cluster, &cluster.read_write(name)?, sql)
}

fn psql(cluster: &Cluster, port: &Target, sql: &str) -> anyhow::Result<std::process::Child> {
    let program = plain::binaries()?.join("psql");
    let conninfo = format!(
        "host={} port={} user=postgres dbname=postgres sslmode=require",
        port.address.ip(),
        port.address.port()
    );
    let mut command = cluster.account.command(program, None);
    command
        .env("PGPASSWORD", &port.password)
        .args(["-X", "-At", "-v", "VERBOSITY=verbose", "-d", &conninfo])
        .args(["-c", sql])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().context("psql does not start")
}
