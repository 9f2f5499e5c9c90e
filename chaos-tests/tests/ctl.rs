//! `pgha-ctl` from every member, with and without a quorum.

use std::collections::BTreeSet;
use std::time::Duration;

use pgha_chaos::history::HistoryEntry;
use pgha_chaos::member::Part;
use pgha_chaos::status::Status;
use pgha_chaos::{Cluster, Member, exposition, http, wait};

const WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_member_tells_the_same_and_settings_are_whole() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let primary = cluster.primary().await?;
    for name in cluster.names() {
        let status: Status = cluster.ctl_of(&name)?.json(&["status"]).await?;
        assert_eq!(status.ailment(&cluster.names()), None);
        assert_eq!(status.primary.as_deref(), Some(primary.as_str()));
        let table = cluster.ctl_of(&name)?.done(&["status"]).await?.stdout;
        assert!(
            cluster.names().iter().all(|name| table.contains(name)),
            "{table}"
        );
    }
    settings_change_as_a_whole(&cluster).await?;
    parameters_reach_postgresql(&cluster).await?;
    usage_errors(&cluster).await?;
    health_checks(&cluster, &primary).await?;
    let doctor = cluster.ctl().done(&["doctor"]).await?;
    assert!(!doctor.stdout.is_empty());
    cluster.finish();
    Ok(())
}

async fn settings_change_as_a_whole(cluster: &Cluster) -> anyhow::Result<()> {
    let ctl = cluster.ctl();
    let before = ctl
        .done(&["--output", "json", "settings", "show"])
        .await?
        .stdout;
    for (bad, word) in [
        ("lease_ms=500", "lease_ms"),
        ("max_lag_on_failover=much", "much"),
        ("nonsense=1", "nonsense"),
        ("postgres.parameters.primary_conninfo=x", "primary_conninfo"),
        (
            "postgres.parameters.synchronous_standby_names=*",
            "synchronous_standby_names",
        ),
    ] {
        let set = ["settings", "set", "proxy.hold_ms=7000", bad, "--yes"];
        ctl.run(&set).await?.refused(1, &[word])?;
        let now = ctl
            .done(&["--output", "json", "settings", "show"])
            .await?
            .stdout;
        assert_eq!(now, before, "{bad} was refused, but something changed");
    }
    ctl.done(&[
        "settings",
        "set",
        "proxy.hold_ms=7000",
        "read.max_lag=8MiB",
        "--yes",
    ])
    .await?;
    for name in cluster.names() {
        let ctl = cluster.ctl_of(&name)?;
        wait::until("the new settings", WITHIN, || async {
            let text = ctl.done(&["settings", "show"]).await?.stdout;
            anyhow::ensure!(text.contains("7000"), "{text}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn parameters_reach_postgresql(cluster: &Cluster) -> anyhow::Result<()> {
    let set = [
        "settings",
        "set",
        "postgres.parameters.work_mem=7MB",
        "--yes",
    ];
    cluster.ctl().done(&set).await?;
    for name in cluster.names() {
        let direct = cluster.direct(&name)?;
        wait::until("work_mem", WITHIN, || async {
            let value: String = direct.value("SELECT current_setting('work_mem')").await?;
            anyhow::ensure!(value == "7MB", "{value}");
            Ok(())
        })
        .await?;
    }
    let set = [
        "settings",
        "set",
        "postgres.parameters.max_connections=123",
        "--yes",
    ];
    cluster.ctl().done(&set).await?;
    wait::until("the restart to be shown as pending", WITHIN, || async {
        let text = cluster
            .ctl()
            .done(&["--output", "json", "settings", "show"])
            .await?
            .stdout;
        let answer: serde_json::Value = serde_json::from_str(&text)?;
        let pending = answer["restart_pending"].to_string();
        anyhow::ensure!(pending.contains("max_connections"), "{text}");
        Ok(())
    })
    .await
}

async fn usage_errors(cluster: &Cluster) -> anyhow::Result<()> {
    let ctl = cluster.ctl();
    for wrong in [
        &["swichover"][..],
        &["settings", "set"],
        &["status", "--colour"],
        &["failover"],
    ] {
        assert_eq!(ctl.run(wrong).await?.code, 2, "{wrong:?}");
    }
    let nobody = ctl.through("127.0.0.1:9");
    assert_eq!(nobody.run(&["status"]).await?.code, 3);
    let second = pgha_chaos::ctl::Ctl {
        endpoints: [vec!["127.0.0.1:9".to_owned()], ctl.endpoints.clone()].concat(),
        ..ctl
    };
    assert_eq!(
        second.run(&["status"]).await?.code,
        0,
        "the next endpoint was not tried"
    );
    Ok(())
}

async fn health_checks(cluster: &Cluster, primary: &str) -> anyhow::Result<()> {
    for member in &cluster.members {
        let leads = member.name == primary;
        let checks = [
            ("/", leads),
            ("/primary", leads),
            ("/read-write", leads),
            ("/leader", leads),
            ("/replica", !leads),
            ("/read-only", true),
            ("/readiness", true),
            ("/health", true),
            ("/liveness", true),
        ];
        let recovers = "SELECT pg_is_in_recovery()";
        let recovers: bool = cluster.direct(&member.name)?.value(recovers).await?;
        assert_eq!(recovers, !leads, "{}", member.name);
        for (path, expected) in checks {
            let answer = http::get(member.addresses.http, path).await?;
            let code = if expected { 200 } else { 503 };
            assert_eq!(
                answer.status, code,
                "{} {path}: {}",
                member.name, answer.body
            );
            for method in ["HEAD", "OPTIONS"] {
                let asked = http::ask(method, None, member.addresses.http, path).await?;
                assert_eq!(asked.status, code, "{} {method} {path}", member.name);
            }
        }
        // As PostgreSQL writes sizes.
        for (path, code) in [("/replica?lag=16MB", 200), ("/replica?lag=much", 400)] {
            let code = if leads && code == 200 { 503 } else { code };
            let answer = http::get(member.addresses.http, path).await?;
            assert_eq!(answer.status, code, "{} {path}", member.name);
        }
        metrics(member, leads).await?;
    }
    Ok(())
}

/// Every documented metric and no other, in a form that Prometheus reads.
async fn metrics(member: &Member, leads: bool) -> anyhow::Result<()> {
    let answer = http::get(member.addresses.http, "/metrics").await?;
    assert_eq!(answer.status, 200, "{}", member.name);
    let metrics = exposition::parse(&answer.body)?;
    let kinds = metrics.iter().map(|(name, metric)| (name, &metric.kind));
    let mut documented = exposition::documented()?;
    if leads {
        documented.remove("pgha_replay_lag_bytes");
    }
    assert!(kinds.eq(documented.iter()), "{metrics:#?} {documented:#?}");
    let one = |name: &str| metrics[name].samples[name] == 1.0;
    for (name, expected) in [
        ("pgha_gate_open", leads),
        ("pgha_is_primary", leads),
        ("pgha_is_replica", !leads),
        ("pgha_quorum", true),
    ] {
        assert_eq!(one(name), expected, "{} {name}", member.name);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_and_explanation_outlive_the_old_primary() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let old = cluster.primary().await?;
    let first = cluster.history().await?;
    assert_eq!(first.len(), 1, "{first:?}");
    let member = cluster.member_mut(&old)?;
    member.kill(Part::Node)?;
    let directory = member.directory.clone();
    std::fs::remove_dir_all(&directory)?;
    let new = cluster.wait_primary_other_than(&old, WITHIN).await?;
    for name in cluster.names().into_iter().filter(|name| *name != old) {
        let ctl = cluster.ctl_of(&name)?;
        // The entry is complete once the new primary has opened, and each member learns that by itself.
        let history = wait::until("the change in the journal", WITHIN, || async {
            let history: Vec<HistoryEntry> = ctl.json(&["history"]).await?;
            let opened = history.last().and_then(|last| last.fork_lsn);
            anyhow::ensure!(opened.is_some(), "not opened: {history:?}");
            Ok(history)
        })
        .await?;
        let last = history.last().expect("entries");
        assert_eq!(history[0], first[0], "the past changed");
        assert_eq!(
            (&last.primary, last.previous_primary.as_ref()),
            (&new, Some(&old))
        );
        assert!(last.timeline > first[0].timeline && last.epoch > first[0].epoch);
        let text = ctl.done(&["explain"]).await?.stdout;
        for word in [new.as_str(), old.as_str(), &last.epoch.to_string()] {
            assert!(text.contains(word), "`{word}` is not in: {text}");
        }
        let lsn = last.fork_lsn.expect("checked above").to_string();
        assert!(text.contains(&lsn), "no LSN {lsn} in: {text}");
        for step in ["revoked", "reported", "committed", "promoted", "routed"] {
            assert!(
                last.steps().iter().any(|(known, _)| known == step),
                "no {step}: {last:?}"
            );
        }
        let timed = |line: &&str| line.split_whitespace().nth(1) == Some("ms");
        let told: Vec<&str> = text.lines().filter(timed).map(str::trim).collect();
        let steps = last.steps().into_iter();
        let steps: Vec<String> = steps.map(|(step, ms)| format!("{ms} ms {step}")).collect();
        assert_eq!(BTreeSet::from_iter(&told).len(), told.len(), "{text}");
        assert_eq!(told.len(), steps.len(), "{text}");
        assert!(steps.iter().all(|s| told.contains(&s.as_str())), "{text}");
        let doctor = ctl.run(&["doctor"]).await?;
        assert!(
            doctor.stdout.contains(&old),
            "the doctor does not miss {old}: {doctor:?}"
        );
    }
    cluster.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_status_works_and_changes_are_refused() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let primary = cluster.primary().await?;
    let names = cluster.names();
    for name in names.iter().filter(|name| **name != primary) {
        cluster.member_mut(name)?.kill(Part::Node)?;
    }
    let ctl = cluster.ctl_of(&primary)?;
    let lost = wait::until("the loss of the quorum", WITHIN, || async {
        let status: Status = ctl.json(&["status"]).await?;
        anyhow::ensure!(!status.quorum && status.primary.is_none(), "{status:?}");
        Ok(status)
    })
    .await?;
    assert_eq!(lost.raft.leader, None);
    let data = cluster.member(&primary)?.addresses.http;
    for path in ["/primary", "/read-write", "/leader"] {
        assert_eq!(http::get(data, path).await?.status, 503, "{path}");
    }
    reads_go_on(&cluster, &primary, &ctl).await?;
    ctl.done(&["history"]).await?;
    for change in [
        &["switchover", "--yes"][..],
        &["switchover", "--to", "n9", "--yes"],
        &["settings", "set", "proxy.hold_ms=9000", "--yes"],
    ] {
        let answer = ctl.run(change).await?;
        assert_eq!(answer.code, 1, "{change:?}: {answer:?}");
        assert!(answer.stderr.contains("quorum"), "{answer:?}");
    }
    cluster.restart_fallen()?;
    cluster.wait_healthy(WITHIN).await?;
    cluster
        .ends_in_one_primary_and_all_streaming(WITHIN)
        .await?;
    cluster.finish();
    Ok(())
}

/// A fenced member without quorum serves reads as a standby with no upstream.
async fn reads_go_on(
    cluster: &Cluster,
    name: &str,
    ctl: &pgha_chaos::ctl::Ctl,
) -> anyhow::Result<()> {
    let direct = cluster.direct(name)?;
    wait::until("a fenced standby", WITHIN, || async {
        let recovery: bool = direct.value("SELECT pg_is_in_recovery()").await?;
        let status: Status = ctl.json(&["status"]).await?;
        let member = status.member(name).cloned();
        let seen = member
            .as_ref()
            .map(|m| (m.role.as_str(), m.state.as_str(), m.reason.as_deref()));
        anyhow::ensure!(
            recovery && seen == Some(("replica", "fenced", Some("no_quorum"))),
            "{seen:?}"
        );
        Ok(())
    })
    .await
}
