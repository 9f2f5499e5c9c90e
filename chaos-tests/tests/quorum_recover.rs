//! The operator's way on after most members were lost for ever (design 6.6), and the way back of those
//! who were not lost for ever after all.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use pgha_chaos::load::{Load, LoadOptions};
use pgha_chaos::member::Part;
use pgha_chaos::netns::{self, Cut};
use pgha_chaos::process::Process;
use pgha_chaos::status::Status;
use pgha_chaos::{Cluster, ClusterOptions, checker, http, wait};

const WITHIN: Duration = Duration::from_secs(90);
/// From the moment that the old generation can hear of the new one until it takes no write any more.
const FENCED_WITHIN: Duration = Duration::from_secs(10);

/// A lease that a busy machine does not end: here it is counted how often the primary changed.
fn patient(members: usize) -> ClusterOptions {
    ClusterOptions::new(members).initial("lease_ms", 4000)
}

/// The view of one member alone.
async fn status_of(cluster: &Cluster, name: &str) -> anyhow::Result<Status> {
    cluster.ctl_of(name)?.json(&["status"]).await
}

/// Raft ids by name, from the metrics of each member.
async fn raft_ids(cluster: &Cluster) -> anyhow::Result<BTreeMap<String, u64>> {
    wait::until("every member's raft id", WITHIN, || async {
        let mut ids = BTreeMap::new();
        for member in &cluster.members {
            let text = http::get(member.addresses.http, "/metrics").await?;
            let value = http::metric(&text.body, "pgha_raft_id");
            let value = value.with_context(|| format!("no pgha_raft_id in {}", text.body))?;
            ids.insert(member.name.clone(), value as u64);
        }
        Ok(ids)
    })
    .await
}

/// Waits until the member serves reads as a fenced standby and says why; its status.
async fn fenced(cluster: &Cluster, name: &str) -> anyhow::Result<Status> {
    wait::until(&format!("{name} fenced"), WITHIN, || async {
        let status = status_of(cluster, name).await?;
        let member = status.member(name).context("it is a member")?;
        let seen = (member.state.as_str(), member.reason.as_deref());
        anyhow::ensure!(seen == ("fenced", Some("no_quorum")), "{member:?}");
        anyhow::ensure!(member.received_lsn.is_some(), "{member:?}");
        anyhow::ensure!(!status.quorum && status.primary.is_none(), "{status:?}");
        Ok(status)
    })
    .await
}

async fn rows(cluster: &Cluster, name: &str) -> anyhow::Result<i64> {
    let direct = cluster.direct(name)?;
    direct.value("SELECT count(*) FROM pgha_load").await
}

/// `quorum recover` on that member, as a script would.
async fn recover(cluster: &Cluster, name: &str, id: &str) -> anyhow::Result<serde_json::Value> {
    let order = ["quorum", "recover", "--confirm", id, "--yes"];
    cluster.ctl_of(name)?.json(&order).await
}

/// Where a store was moved that has no vote any more, marked with the generation that took it.
fn ruled_out(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    let aside = cluster.member(name)?.directory.join("raft.quarantined-1");
    let mark = std::fs::read_to_string(aside.join("ruled-out"))
        .with_context(|| format!("{name} has not moved its store aside"))?;
    anyhow::ensure!(mark == "2", "{name}: {mark}");
    anyhow::ensure!(
        aside.join("store").exists(),
        "{name}: the store was not kept"
    );
    Ok(())
}

/// All three stream and vote, those who came back under ids that nobody ever had.
async fn all_are_back(
    cluster: &Cluster,
    survivor: &str,
    before: &BTreeMap<String, u64>,
) -> anyhow::Result<()> {
    let healthy = cluster.wait_healthy(WITHIN).await?;
    assert_eq!(healthy.generation, 2);
    assert_eq!(healthy.primary.as_deref(), Some(survivor));
    cluster
        .ends_in_one_primary_and_all_streaming(WITHIN)
        .await?;
    let after = raft_ids(cluster).await?;
    let highest = before.values().max().context("members")?;
    for (name, id) in &after {
        if name == survivor {
            assert_eq!(id, &before[name]);
        } else {
            assert!(id > highest, "{name} has raft id {id}, before {before:?}");
            ruled_out(cluster, name)?;
        }
    }
    Ok(())
}

/// What is asked wrongly is refused, and changes nothing.
async fn refusals(cluster: &Cluster, survivor: &str, id: &str) -> anyhow::Result<()> {
    let ctl = cluster.ctl_of(survivor)?;
    let wrong = ["quorum", "recover", "--confirm", "no-such-cluster", "--yes"];
    ctl.run(&wrong)
        .await?
        .refused(2, &["no-such-cluster", id])?;
    let unasked = ["quorum", "recover", "--confirm", id];
    ctl.run(&unasked)
        .await?
        .refused(2, &["terminal", "--yes"])?;
    let everybody = ["quorum", "recover", "--confirm", id, "--yes"];
    let answer = cluster.ctl().run(&everybody).await?;
    answer.refused(2, &["3 endpoints", "--endpoint"])?;
    let bare = ctl.run(&["quorum", "recover", "--yes"]).await?;
    anyhow::ensure!(
        bare.code == 2 && bare.stderr.contains("--confirm"),
        "{bare:?}"
    );
    let status = status_of(cluster, survivor).await?;
    anyhow::ensure!(
        status.generation == 1 && status.primary.is_none(),
        "{status:?}"
    );
    Ok(())
}

/// Two of three are lost; the third goes on, and the two come back after all.
async fn goes_on_alone(survivor_was_primary: bool) -> anyhow::Result<()> {
    let mut cluster = Cluster::start_with(patient(3)).await?;
    let primary = cluster.primary().await?;
    let replicas: Vec<String> = cluster
        .names()
        .into_iter()
        .filter(|n| *n != primary)
        .collect();
    let (survivor, lost) = if survivor_was_primary {
        (primary.clone(), replicas)
    } else {
        (
            replicas[0].clone(),
            vec![replicas[1].clone(), primary.clone()],
        )
    };
    let before = raft_ids(&cluster).await?;
    let id = cluster.status().await?.cluster_id.context("formed")?;
    let load = Load::start(LoadOptions::new(1, cluster.read_write_except(&[])?)).await?;
    load.advance(100, WITHIN).await?;

    // Where a quorum is, there is nothing to recover.
    let order = ["quorum", "recover", "--confirm", &id, "--yes"];
    let leader = cluster.status().await?.raft.leader.context("one leads")?;
    let answer = cluster.ctl_of(&survivor)?.run(&order).await?;
    answer.refused(1, &["a quorum answers", &leader])?;

    for name in &lost {
        cluster.member_mut(name)?.kill(Part::Node)?;
    }
    let record = load.stop().await?;
    let status = fenced(&cluster, &survivor).await?;
    let way_out = "pgha-ctl quorum recover";
    assert_eq!(status.reason.as_deref(), Some("no_quorum"));
    let table = cluster.ctl_of(&survivor)?.done(&["status"]).await?.stdout;
    assert!(table.contains(way_out), "{table}");
    assert!(cluster.member(&survivor)?.log_text().contains(way_out));
    let doctor = cluster.ctl_of(&survivor)?.run(&["doctor"]).await?;
    assert!(
        doctor.code == 1 && doctor.stdout.contains(way_out),
        "{doctor:?}"
    );
    let kept = rows(&cluster, &survivor).await?;
    assert!(kept >= 90, "{kept} rows");
    let written = cluster
        .direct(&survivor)?
        .run("CREATE TABLE t (n int)")
        .await;
    assert!(written.is_err(), "it is read-only");
    refusals(&cluster, &survivor, &id).await?;
    let shown: serde_json::Value = cluster.ctl_of(&survivor)?.json(&["quorum", "show"]).await?;
    assert_eq!(shown["obstacle"], serde_json::Value::Null, "{shown}");
    assert_eq!(shown["last_primary"], primary.as_str(), "{shown}");
    eprintln!(
        "{}",
        cluster
            .ctl_of(&survivor)?
            .done(&["quorum", "show"])
            .await?
            .stdout
    );

    let pid = cluster.member(&survivor)?.sidecar_pid()?;
    let guard = cluster.member(&survivor)?.guard_pid()?;
    let asked = Instant::now();
    let done = recover(&cluster, &survivor, &id).await?;
    eprintln!("recovered in {:?}: {done}", asked.elapsed());
    let status = status_of(&cluster, &survivor).await?;
    assert_eq!(status.generation, 2);
    assert!(status.epoch > Some(1), "{status:?}");
    assert_eq!(status.raft.voters.join(","), survivor);
    for name in &lost {
        let member = status.member(name).context("still known")?;
        assert_eq!(member.reason.as_deref(), Some("ruled_out"), "{member:?}");
    }
    assert!(rows(&cluster, &survivor).await? >= kept);
    let port = cluster.read_write(&survivor)?;
    port.run("CREATE TABLE went_on (n int); INSERT INTO went_on VALUES (1)")
        .await?;
    // The same process as far as a service manager sees, and no dead child of it is left.
    assert_eq!(cluster.member(&survivor)?.sidecar_pid()?, pid);
    assert!(cluster.member_mut(&survivor)?.is_up());
    wait::until_true("the old guard to be noticed", WITHIN, || {
        Process::of(guard).is_none_or(|p| p.parent != pid)
    })
    .await?;
    let again = cluster.ctl_of(&survivor)?.run(&order).await?;
    again.refused(1, &["a quorum answers"])?;

    for name in &lost {
        cluster.member_mut(name)?.start()?;
    }
    all_are_back(&cluster, &survivor, &before).await?;
    // Their return cost the survivor nothing: it served all the time.
    let history = cluster.history().await?;
    let causes: Vec<&str> = history.iter().map(|entry| entry.cause.as_str()).collect();
    assert_eq!(causes, ["formation", "quorum_recovered"], "{history:#?}");
    let present = checker::read_rows(&cluster.direct(&survivor)?).await?;
    let verdict = checker::judge(&[record], &present)?;
    if survivor_was_primary {
        verdict.nothing_lost()?;
    } else {
        // All the WAL of one connection's rows: what a replica may lack.
        verdict.losses_reported(&cluster.history().await?, 16 << 20)?;
    }
    // The new votes count: two of them are a quorum without the survivor.
    cluster.member_mut(&survivor)?.kill(Part::Node)?;
    let next = cluster.wait_primary_other_than(&survivor, WITHIN).await?;
    let port = cluster.read_write(&next)?;
    port.run("INSERT INTO went_on VALUES (2)").await?;
    cluster.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_goes_on_alone() -> anyhow::Result<()> {
    goes_on_alone(false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_goes_on_alone() -> anyhow::Result<()> {
    goes_on_alone(true).await
}

/// The operator was wrong, or somebody started the two again where they do not reach the survivor: they
/// are a quorum of the old generation, and go on in it. That ends when they hear of the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_were_not_lost_fence_as_soon_as_they_hear() -> anyhow::Result<()> {
    if netns::skipped("two_that_were_not_lost_fence_as_soon_as_they_hear") {
        return Ok(());
    }
    let mut cluster = Cluster::start_with(ClusterOptions::new(3).in_namespaces()).await?;
    let primary = cluster.primary().await?;
    let survivor = cluster.names().into_iter().find(|n| *n != primary);
    let survivor = survivor.context("a replica")?;
    let lost: Vec<String> = cluster
        .names()
        .into_iter()
        .filter(|n| *n != survivor)
        .collect();
    cluster
        .read_write(&primary)?
        .run("CREATE TABLE side (note text)")
        .await?;
    let id = cluster.status().await?.cluster_id.context("formed")?;
    wait::until("the table everywhere", WITHIN, || async {
        for name in cluster.names() {
            let _: i64 = cluster
                .direct(&name)?
                .value("SELECT count(*) FROM side")
                .await?;
        }
        Ok(())
    })
    .await?;
    for name in &lost {
        cluster.member_mut(name)?.kill(Part::Node)?;
    }
    fenced(&cluster, &survivor).await?;
    recover(&cluster, &survivor, &id).await?;
    cluster
        .direct(&survivor)?
        .run("INSERT INTO side VALUES ('kept')")
        .await?;

    // They come up together and reach everybody but the survivor.
    let index = cluster.index(&survivor)?;
    let network = cluster.network.as_ref().context("no namespaces")?;
    for name in &lost {
        network.cut(Cut::Between(index, cluster.index(name)?))?;
    }
    for name in &lost {
        cluster.member_mut(name)?.start()?;
    }
    let old = wait::until("a primary of the old generation", WITHIN, || async {
        let status = status_of(&cluster, &lost[0]).await?;
        anyhow::ensure!(status.generation == 1, "{status:?}");
        status.primary.context("none yet")
    })
    .await?;
    let direct = cluster.direct(&old)?;
    wait::until("the old generation serves", WITHIN, || async {
        direct.run("INSERT INTO side VALUES ('given up')").await
    })
    .await?;
    // What the command warned of: both serve, and nothing but the operator could have known.
    cluster
        .direct(&survivor)?
        .run("INSERT INTO side VALUES ('kept')")
        .await?;

    let healed = Instant::now();
    cluster.network.as_ref().context("no namespaces")?.heal()?;
    let stopped = wait::until("the old generation to stop", FENCED_WITHIN, || async {
        match direct.run("INSERT INTO side VALUES ('given up')").await {
            Ok(()) => {
                anyhow::bail!(
                    "it still writes {:?} after the network healed",
                    healed.elapsed()
                )
            }
            Err(_) => Ok(healed.elapsed()),
        }
    })
    .await?;
    eprintln!("the old primary took no write any more {stopped:?} after the network healed");

    let healthy = cluster.wait_healthy(WITHIN).await?;
    assert_eq!(
        (healthy.generation, healthy.primary.as_deref()),
        (2, Some(survivor.as_str()))
    );
    cluster
        .ends_in_one_primary_and_all_streaming(WITHIN)
        .await?;
    for name in &lost {
        ruled_out(&cluster, name)?;
    }
    for name in cluster.names() {
        let direct = cluster.direct(&name)?;
        let given_up = "SELECT count(*) FROM side WHERE note = 'given up'";
        let kept = "SELECT count(*) FROM side WHERE note = 'kept'";
        assert_eq!(direct.value::<i64>(given_up).await?, 0, "{name}");
        assert_eq!(direct.value::<i64>(kept).await?, 2, "{name}");
    }
    cluster.finish();
    Ok(())
}

/// A witness has nothing to go on with, and a sidecar without a cluster has nothing to recover.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_data_does_not_go_on() -> anyhow::Result<()> {
    let mut cluster = Cluster::prepare(ClusterOptions::new(3))?;
    cluster.member_mut("n3")?.flags.push("--witness".to_owned());
    cluster.member_mut("n3")?.start()?;
    let order = ["quorum", "recover", "--confirm", "any", "--yes"];
    wait::until("n3 to answer", WITHIN, || async {
        let answer = cluster.ctl_of("n3")?.run(&order).await?;
        answer.refused(1, &["no cluster yet"])
    })
    .await?;
    cluster.restart_fallen()?;
    let id = wait::until("a cluster with a primary", WITHIN, || async {
        let status = cluster.status().await?;
        status.primary.context("no primary yet")?;
        status.cluster_id.context("no cluster yet")
    })
    .await?;
    for name in ["n1", "n2"] {
        cluster.member_mut(name)?.kill(Part::Node)?;
    }
    let order = ["quorum", "recover", "--confirm", &id, "--yes"];
    let answer = cluster.ctl_of("n3")?.run(&order).await?;
    answer.refused(1, &["n3 is a witness and has no data"])?;
    assert_eq!(status_of(&cluster, "n3").await?.generation, 1);
    cluster.finish();
    Ok(())
}

/// Three of five are lost. Of the two that are left one goes on, and the other is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_other_one_that_is_left_joins_the_one_that_goes_on() -> anyhow::Result<()> {
    let mut cluster = Cluster::start_with(patient(5)).await?;
    let primary = cluster.primary().await?;
    let before = raft_ids(&cluster).await?;
    let id = cluster.status().await?.cluster_id.context("formed")?;
    let left: Vec<String> = cluster
        .names()
        .into_iter()
        .filter(|n| *n != primary)
        .take(2)
        .collect();
    let lost: Vec<String> = cluster
        .names()
        .into_iter()
        .filter(|n| !left.contains(n))
        .collect();
    cluster
        .read_write(&primary)?
        .run("CREATE TABLE pgha_load (writer int, number bigint)")
        .await?;
    for name in &lost {
        cluster.member_mut(name)?.kill(Part::Node)?;
    }
    for name in &left {
        fenced(&cluster, name).await?;
    }
    let (survivor, other) = (&left[0], &left[1]);
    let shown: serde_json::Value = cluster.ctl_of(survivor)?.json(&["quorum", "show"]).await?;
    assert_eq!(shown["obstacle"], serde_json::Value::Null, "{shown}");
    let members = shown["members"].as_array().context("members")?;
    let answer = members.iter().find(|m| m["name"] == other.as_str());
    let answer = answer.context("listed")?["answer"].to_string();
    assert!(
        answer.contains("member of generation 1, timeline 1, end of WAL"),
        "{answer}"
    );
    recover(&cluster, survivor, &id).await?;

    // Nobody starts it again, or tells it anything.
    wait::until("the other one to stream", WITHIN, || async {
        let status = status_of(&cluster, survivor).await?;
        let member = status.member(other).context("known")?;
        anyhow::ensure!(member.state == "streaming", "{member:?}");
        anyhow::ensure!(status.raft.voters.len() == 2, "{:?}", status.raft);
        Ok(())
    })
    .await?;
    ruled_out(&cluster, other)?;
    for name in &lost {
        cluster.member_mut(name)?.start()?;
    }
    all_are_back(&cluster, survivor, &before).await?;
    let history = cluster.history().await?;
    anyhow::ensure!(history.len() == 2, "{history:#?}");
    cluster.finish();
    Ok(())
}

/// Two votes of three are lost, and one of them is a witness': it comes back as one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_comes_back_too() -> anyhow::Result<()> {
    let mut cluster = Cluster::prepare(ClusterOptions::new(3))?;
    cluster.member_mut("n3")?.flags.push("--witness".to_owned());
    cluster.restart_fallen()?;
    let whole = |cluster: &Cluster, generation: u64| {
        let ctl = cluster.ctl();
        async move {
            wait::until("a whole cluster", WITHIN, || async {
                let status: Status = ctl.json(&["status"]).await?;
                let state = |name: &str| {
                    status
                        .member(name)
                        .map(|m| (m.role.as_str(), m.state.as_str()))
                };
                let primary = status.primary.clone().context("no primary")?;
                let replica = if primary == "n1" { "n2" } else { "n1" };
                anyhow::ensure!(
                    state(replica) == Some(("replica", "streaming")),
                    "{status:?}"
                );
                anyhow::ensure!(state("n3") == Some(("witness", "running")), "{status:?}");
                anyhow::ensure!(status.raft.voters.len() == 3, "{:?}", status.raft);
                anyhow::ensure!(status.generation == generation, "{status:?}");
                Ok((
                    primary,
                    replica.to_owned(),
                    status.cluster_id.context("formed")?,
                ))
            })
            .await
        }
    };
    let (primary, survivor, id) = whole(&cluster, 1).await?;
    for name in ["n3", primary.as_str()] {
        cluster.member_mut(name)?.kill(Part::Node)?;
    }
    fenced(&cluster, &survivor).await?;
    recover(&cluster, &survivor, &id).await?;
    cluster.restart_fallen()?;
    let (now, ..) = whole(&cluster, 2).await?;
    assert_eq!(now, survivor);
    for name in ["n3", primary.as_str()] {
        ruled_out(&cluster, name)?;
    }
    cluster.finish();
    Ok(())
}

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
    anyhow::ensure!(
        seen.last()
            .is_some_and(|(_, generation, _)| *generation == 2),
        "{seen:?}"
    );
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
