//! The survivor's sidecar ends in the middle of its recovery.

use std::time::Duration;

use anyhow::Context;
use pgha_chaos::member::Part;
use pgha_chaos::{Cluster, wait};

use crate::rig::{WITHIN, fenced, recover, status_of};

/// `kill -9` of the survivor's sidecar at different moments of its recovery: it is of the old generation
/// afterwards, and can be recovered again, or of the new one, and goes on by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_that_is_killed_happened_or_did_not() -> anyhow::Result<()> {
    const KILL_AFTER_MS: [u64; 7] = [5, 20, 40, 60, 90, 150, 400];
    let mut cluster = Cluster::start(3).await?;
    let primary = cluster.primary().await?;
    let survivor = cluster.names().into_iter().find(|n| *n != primary);
    let survivor = survivor.context("a replica")?;
    let id = cluster.status().await?.cluster_id.context("formed")?;
    let sql = "CREATE TABLE kept (n int); INSERT INTO kept SELECT generate_series(1, 1000)";
    cluster.read_write(&primary)?.run(sql).await?;
    let direct = cluster.direct(&survivor)?;
    wait::until("the rows on the survivor", WITHIN, || async {
        let rows: i64 = direct.value("SELECT count(*) FROM kept").await?;
        anyhow::ensure!(rows == 1000, "{rows}");
        Ok(())
    })
    .await?;
    for name in cluster.names().into_iter().filter(|n| *n != survivor) {
        cluster.member_mut(&name)?.kill(Part::Node)?;
    }
    let mut seen = Vec::new();
    for after in KILL_AFTER_MS {
        fenced(&cluster, &survivor).await?;
        let ctl = cluster.ctl_of(&survivor)?;
        let order = id.clone();
        let asked = tokio::spawn(async move {
            let order = [
                "quorum",
                "recover",
                "--confirm",
                &order,
                "--yes",
                "--no-wait",
            ];
            ctl.run(&order).await
        });
        tokio::time::sleep(Duration::from_millis(after)).await;
        cluster.member_mut(&survivor)?.kill(Part::Sidecar)?;
        let answer = asked.await??;
        cluster.member_mut(&survivor)?.start()?;
        let status = wait::until("the survivor to answer", WITHIN, || async {
            let status = status_of(&cluster, &survivor).await?;
            anyhow::ensure!(status.cluster_id.is_some(), "{status:?}");
            Ok(status)
        })
        .await?;
        seen.push((after, status.generation, answer.code));
        // What was answered is on disk.
        assert!(answer.code != 0 || status.generation == 2, "{seen:?}");
        if status.generation == 2 {
            break;
        }
        assert_eq!(status.generation, 1, "{seen:?}");
    }
    eprintln!("killed after so many ms: generation, exit code of the command: {seen:?}");
    if seen.last().is_none_or(|(_, generation, _)| *generation < 2) {
        // On a busy machine each of them came too early: nothing stands in the way of the next one.
        fenced(&cluster, &survivor).await?;
        recover(&cluster, &survivor, &id).await?;
        let generation = status_of(&cluster, &survivor).await?.generation;
        assert_eq!(generation, 2, "{seen:?}");
    }
    wait::until("the survivor to be primary", WITHIN, || async {
        let status = status_of(&cluster, &survivor).await?;
        anyhow::ensure!(status.primary.as_ref() == Some(&survivor), "{status:?}");
        Ok(())
    })
    .await?;
    let rows: i64 = direct.value("SELECT count(*) FROM kept").await?;
    assert_eq!(rows, 1000);
    cluster
        .read_write(&survivor)?
        .run("INSERT INTO kept VALUES (1)")
        .await?;
    cluster.finish();
    Ok(())
}
