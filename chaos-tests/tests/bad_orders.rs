//! Orders of an operator that cannot be carried out: refused in one line, nothing changed.

use std::time::Duration;

use pgha_chaos::member::Part;
use pgha_chaos::status::Status;
use pgha_chaos::{Cluster, ClusterOptions, wait};
use pgha_proto::v1;
use pgha_proto::v1::admin_client::AdminClient;
use tonic::Code;

const WITHIN: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_that_cannot_be_carried_out() -> anyhow::Result<()> {
    let options = ClusterOptions::new(3).initial("max_lag_on_failover", "1MiB");
    let mut cluster = Cluster::start_with(options).await?;
    let primary = cluster.primary().await?;
    let others: Vec<String> = cluster
        .names()
        .into_iter()
        .filter(|name| *name != primary)
        .collect();
    let [slow, gone] = others.as_slice() else {
        anyhow::bail!("{others:?}")
    };
    for order in ["switchover", "failover"] {
        for (target, words) in [
            (primary.as_str(), ["is the primary already", slow, gone]),
            ("n9", ["is no member of cluster chaos", slow, gone]),
        ] {
            for name in cluster.names() {
                let ctl = cluster.ctl_of(&name)?;
                let answer = ctl.run(&[order, "--to", target, "--yes"]).await?;
                answer.refused(1, &[&[target], &words[..]].concat())?;
            }
        }
    }
    passed_on_from_elsewhere(&cluster, slow).await?;
    to_a_lagging_one(&cluster, &primary, slow).await?;
    cluster.member_mut(gone)?.stop(WITHIN).await?;
    let address = cluster.member(gone)?.addresses.raft.to_string();
    for order in ["switchover", "failover"] {
        let ctl = cluster.ctl_of(&primary)?;
        wait::until("the silence to be noticed", WITHIN, || async {
            let status = cluster.status().await?;
            let state = status.member(gone).map(|member| member.state.clone());
            anyhow::ensure!(state.as_deref() == Some("unreachable"), "{state:?}");
            Ok(())
        })
        .await?;
        let answer = ctl.run(&[order, "--to", gone, "--yes"]).await?;
        answer.refused(1, &[gone, "does not answer at", &address, "start it"])?;
    }
    without_a_quorum(&mut cluster, &primary, slow, gone).await?;
    cluster.restart_fallen()?;
    cluster.wait_healthy(WITHIN).await?;
    cluster
        .ends_in_one_primary_and_all_streaming(WITHIN)
        .await?;
    cluster.finish();
    Ok(())
}

/// A member of another cluster takes this one for its raft leader: an address may belong to somebody
/// else by now.
async fn passed_on_from_elsewhere(cluster: &Cluster, to: &str) -> anyhow::Result<()> {
    let before = cluster.history().await?.len();
    for name in cluster.names() {
        let address = cluster.member(&name)?.addresses.raft;
        let mut admin = AdminClient::connect(format!("http://{address}")).await?;
        let order = v1::FailoverRequest {
            to: to.to_owned(),
            allow_data_loss: true,
            timeout_ms: 5_000,
            passed_on_by: Some(v1::Identity {
                cluster_id: "elsewhere".to_owned(),
                generation: 1,
                from_raft_id: 1,
                from_store_id: "a store".to_owned(),
                to_raft_id: 2,
                to_store_id: String::new(),
            }),
        };
        let refused = admin.failover(order).await.map(drop).err();
        let code = refused.as_ref().map(tonic::Status::code);
        anyhow::ensure!(
            matches!(code, Some(Code::InvalidArgument | Code::FailedPrecondition)),
            "{name}: {refused:?}"
        );
    }
    assert_eq!(cluster.history().await?.len(), before);
    Ok(())
}

async fn to_a_lagging_one(cluster: &Cluster, primary: &str, slow: &str) -> anyhow::Result<()> {
    let before = cluster.status().await?.epoch;
    let replica = cluster.direct(slow)?;
    replica.run("SELECT pg_wal_replay_pause()").await?;
    let port = cluster.read_write(primary)?;
    port.run("CREATE TABLE much AS SELECT repeat('x', 1000) FROM generate_series(1, 5000)")
        .await?;
    wait::until("the lag to show", WITHIN, || async {
        let status = cluster.status().await?;
        let lag = status.member(slow).and_then(|member| member.lag_bytes);
        anyhow::ensure!(lag > Some(2 << 20), "{lag:?}");
        Ok(())
    })
    .await?;
    let ctl = cluster.ctl();
    let answer = ctl.run(&["switchover", "--to", slow, "--yes"]).await?;
    let words = [
        slow,
        "bytes behind",
        "max_lag_on_failover is 1048576",
        "wait",
    ];
    answer.refused(1, &words)?;
    replica.run("SELECT pg_wal_replay_resume()").await?;
    cluster.wait_healthy(WITHIN).await?;
    cluster
        .ends_in_one_primary_and_all_streaming(WITHIN)
        .await?;
    let status = cluster.status().await?;
    assert_eq!(
        (status.primary.as_deref(), status.epoch),
        (Some(primary), before)
    );
    assert_eq!(cluster.history().await?.len(), 1);
    Ok(())
}

/// The primary is alone: every order is refused, by name of who is missing.
async fn without_a_quorum(
    cluster: &mut Cluster,
    primary: &str,
    slow: &str,
    gone: &str,
) -> anyhow::Result<()> {
    cluster.member_mut(slow)?.kill(Part::Node)?;
    let ctl = cluster.ctl_of(primary)?;
    wait::until("the loss of the quorum", WITHIN, || async {
        let status: Status = ctl.json(&["status"]).await?;
        anyhow::ensure!(!status.quorum && status.primary.is_none(), "{status:?}");
        Ok(())
    })
    .await?;
    for order in [
        &["switchover", "--yes"][..],
        &["switchover", "--to", slow, "--yes"],
        &["failover", "--to", slow, "--yes"],
        &["failover", "--to", primary, "--allow-data-loss", "--yes"],
        &["settings", "set", "proxy.hold_ms=9000", "--yes"],
    ] {
        let answer = ctl.run(order).await?;
        let words = ["no quorum", "3 voting members", slow, gone, "start enough"];
        answer.refused(1, &words)?;
    }
    Ok(())
}
