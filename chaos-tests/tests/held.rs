//! What clients of the ports meet while there is no primary, and for how long.

use std::time::{Duration, Instant};

use anyhow::Context;
use pgha_chaos::member::Part;
use pgha_chaos::sql::{ConnectError, Target};
use pgha_chaos::{Cluster, ClusterOptions, wait};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const WITHIN: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(5);
/// A look that must not find what it looks for lasts this long.
const QUIET: Duration = Duration::from_secs(2);
const CANNOT_CONNECT_NOW: &str = "57P03";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_held_while_there_is_no_primary() -> anyhow::Result<()> {
    let options = ClusterOptions::new(3).initial("proxy.hold_ms", 120_000);
    let mut cluster = Cluster::start_with(options).await?;
    let left = alone(&mut cluster).await?;
    let port = cluster.read_write(&left)?;
    let mut held: Vec<_> = (0..4)
        .map(|_| {
            let port = port.clone();
            tokio::spawn(async move {
                let session = port.connect(WITHIN).await?;
                session.value::<bool>("SELECT pg_is_in_recovery()").await
            })
        })
        .collect();
    tokio::time::sleep(QUIET).await;
    let early = held.iter().filter(|client| client.is_finished()).count();
    assert_eq!(early, 0, "served or refused without a primary");
    // Reads need no primary.
    let reader = cluster.read_only(&left)?.connect(WITHIN).await?;
    assert!(reader.value("SELECT pg_is_in_recovery()").await?);
    cluster.restart_fallen()?;
    for client in held.drain(..) {
        let in_recovery = tokio::time::timeout(WITHIN, client)
            .await
            .context("held")???;
        assert!(!in_recovery, "served by a replica");
    }
    cluster.wait_healthy(WITHIN).await?;

    refused_after_the_time(&mut cluster).await?;
    cluster.restart_fallen()?;
    cluster.wait_healthy(WITHIN).await?;
    cluster
        .ends_in_one_primary_and_all_streaming(WITHIN)
        .await?;
    cluster.finish();
    Ok(())
}

/// Leaves one replica alone, without a quorum; who.
async fn alone(cluster: &mut Cluster) -> anyhow::Result<String> {
    let primary = cluster.primary().await?;
    let left = cluster.names().into_iter().find(|name| *name != primary);
    let left = left.context("three members")?;
    for name in cluster.names().into_iter().filter(|name| *name != left) {
        cluster.member_mut(&name)?.kill(Part::Node)?;
    }
    let ctl = cluster.ctl_of(&left)?;
    wait::until("the loss of the quorum", WITHIN, || async {
        let status: pgha_chaos::status::Status = ctl.json(&["status"]).await?;
        anyhow::ensure!(!status.quorum && status.primary.is_none(), "{status:?}");
        Ok(())
    })
    .await?;
    Ok(left)
}

async fn refused_after_the_time(cluster: &mut Cluster) -> anyhow::Result<()> {
    const HOLD: Duration = Duration::from_millis(1500);
    let set = format!("proxy.hold_ms={}", HOLD.as_millis());
    cluster
        .ctl()
        .done(&["settings", "set", &set, "--yes"])
        .await?;
    for name in cluster.names() {
        let ctl = cluster.ctl_of(&name)?;
        wait::until("the setting to arrive", WITHIN, || async {
            let text = ctl.done(&["settings", "show"]).await?.stdout;
            anyhow::ensure!(text.contains("1500"), "{text}");
            Ok(())
        })
        .await?;
    }
    let left = alone(cluster).await?;
    let port = cluster.read_write(&left)?;
    let began = Instant::now();
    let refusal = port
        .connect(WITHIN)
        .await
        .err()
        .context("served by nobody")?;
    anyhow::ensure!(refusal.code() == Some(CANNOT_CONNECT_NOW), "{refusal}");
    anyhow::ensure!(began.elapsed() >= HOLD, "refused too early");
    let ConnectError::Refused(_, error) = refusal else {
        anyhow::bail!("{refusal}")
    };
    let text = error
        .as_db_error()
        .context("no error of PostgreSQL's kind")?;
    anyhow::ensure!(text.message().contains("pgha"), "{text}");
    encryption_is_declined_only_then(&port).await
}

/// A client that offers encryption hears nothing while it is held, then that there is none, then why.
async fn encryption_is_declined_only_then(port: &Target) -> anyhow::Result<()> {
    const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
    let mut stream = port.stream(CONNECT).await?;
    stream.write_all(&SSL_REQUEST).await?;
    let mut answer = [0; 1];
    tokio::time::timeout(WITHIN, stream.read_exact(&mut answer)).await??;
    anyhow::ensure!(answer == *b"N", "{answer:?}");
    let mut startup = 196_608_u32.to_be_bytes().to_vec();
    startup.extend_from_slice(b"user\0postgres\0\0");
    let length = u32::try_from(startup.len() + 4)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&startup).await?;
    let mut rest = Vec::new();
    tokio::time::timeout(WITHIN, stream.read_to_end(&mut rest)).await??;
    let text = String::from_utf8_lossy(&rest).into_owned();
    anyhow::ensure!(text.starts_with('E') && text.contains("C57P03"), "{text:?}");
    Ok(())
}
