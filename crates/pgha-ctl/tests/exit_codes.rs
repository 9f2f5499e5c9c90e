//! The exit codes are what scripts act on: each one from its real cause.

mod fake;

use std::time::{Duration, Instant};

use fake::{Change, Fake, ended, run, without_quorum};
use pgha_proto::v1;
use pgha_proto::v1::outcome::Kind;
use tokio::net::TcpListener;

const SWITCHOVER: [&str; 4] = ["switchover", "--to", "n1", "--yes"];

async fn switchover_with(change: Change, arguments: &[&str]) -> fake::Ended {
    let member = Fake {
        change,
        ..Fake::new()
    }
    .serve()
    .await;
    run(&member.to_string(), arguments).await
}

#[tokio::test]
async fn done_is_0_with_progress_on_stderr_and_the_result_on_stdout() {
    let lines = vec!["checkpoint", "holding clients"];
    let ended = switchover_with(
        Change::Outcome(lines, Kind::Done, "n1 is primary"),
        &SWITCHOVER,
    )
    .await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.err, "checkpoint\nholding clients\n");
    assert_eq!(ended.out, "n1 is primary\n");
}

#[tokio::test]
async fn a_change_as_json_has_outcome_text_and_entry() {
    let change = Change::Outcome(Vec::new(), Kind::Done, "n1 is primary");
    let ended = switchover_with(change, &["switchover", "--yes", "--output", "json"]).await;
    let value: serde_json::Value = serde_json::from_str(&ended.out).expect("json");
    assert_eq!(value["outcome"], "done");
    assert_eq!(value["entry"]["epoch"], 2);
}

#[tokio::test]
async fn refused_and_failed_are_1_with_the_members_words() {
    for change in [
        Change::Refuses("n1 lags by 20 MiB"),
        Change::Outcome(Vec::new(), Kind::Refused, "n1 lags by 20 MiB"),
        Change::Outcome(Vec::new(), Kind::Failed, "n1 lags by 20 MiB"),
    ] {
        let ended = switchover_with(change.clone(), &SWITCHOVER).await;
        assert_eq!(ended.code, 1, "{change:?}: {ended:?}");
        assert_eq!(ended.err, "pgha-ctl: n1 lags by 20 MiB\n");
    }
}

#[tokio::test]
async fn wrong_usage_is_2_and_one_line() {
    for (arguments, word) in [
        (&["failover", "--yes"][..], "--to <NAME>"),
        (&["settings", "set", "--yes"], "KEY=VALUE"),
        (&["settings", "set", "lease_ms", "--yes"], "`lease_ms`"),
        (&["switchover", "--timeout", "0", "--yes"], "`0`"),
        (&["switchover", "--timeot", "1"], "'--timeout'"),
        (&["frobnicate"], "'frobnicate'"),
    ] {
        let ended = run("127.0.0.1:1", arguments).await;
        assert_eq!(ended.code, 2, "{arguments:?}");
        let one_line = ended.err.starts_with("pgha-ctl: ") && ended.err.lines().count() == 1;
        assert!(one_line && ended.err.contains(word), "{ended:?}");
        assert_eq!(ended.out, "");
    }
    assert_eq!(run("nowhere", &["status"]).await.code, 2);
}

#[tokio::test]
async fn help_and_version_are_0_and_as_they_are() {
    for (arguments, word) in [
        (&["--help"][..], "Usage: pgha-ctl"),
        (&["settings", "set", "--help"], "--no-wait"),
        (&["--version"], "pgha-ctl "),
    ] {
        let ended = run("127.0.0.1:1", arguments).await;
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{arguments:?}");
        assert!(ended.out.contains(word), "{ended:?}");
    }
}

#[tokio::test]
async fn without_a_terminal_and_without_yes_nothing_is_sent() {
    let fake = Fake::new();
    let member = fake.clone().serve().await.to_string();
    for arguments in [
        &["switchover"][..],
        &["failover", "--to", "n1"],
        &["settings", "set", "lease_ms=2000"],
        &["settings", "edit"],
    ] {
        let ended = run(&member, arguments).await;
        assert_eq!(ended.code, 2, "{arguments:?}: {ended:?}");
        assert!(ended.err.contains("--yes"), "{ended:?}");
    }
    assert_eq!(fake.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn nobody_reachable_is_3_and_names_each_endpoint() {
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = closed.local_addr().expect("bound").to_string();
    drop(closed);
    for arguments in [&["status"][..], &["history"], &SWITCHOVER] {
        let ended = run(&address, arguments).await;
        assert_eq!(ended.code, 3, "{arguments:?}: {ended:?}");
        assert!(
            ended.err.contains(&address) && ended.err.contains("refused"),
            "{ended:?}"
        );
        assert_eq!(ended.out, "");
    }
}

#[tokio::test]
async fn a_member_that_accepts_and_says_nothing_counts_as_unreachable() {
    // The kernel accepts for it, as for a frozen process.
    let frozen = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = frozen.local_addr().expect("bound").to_string();
    let ended = run(&address, &["status", "--timeout", "500ms"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    let living = Fake::new().serve().await;
    let ended = run(&format!("{address},{living}"), &["status"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[tokio::test]
async fn an_outcome_that_nobody_knows_is_4() {
    for (change, arguments) in [
        (
            Change::Hangs,
            &["switchover", "--yes", "--timeout", "3s"][..],
        ),
        (
            Change::Hangs,
            &["failover", "--to", "n1", "--yes", "--timeout", "3s"],
        ),
        (
            Change::Hangs,
            &[
                "settings",
                "set",
                "lease_ms=2000",
                "--yes",
                "--timeout",
                "3s",
            ],
        ),
        (Change::Breaks, &SWITCHOVER),
        (
            Change::Outcome(Vec::new(), Kind::TimedOut, "no primary after 60 s"),
            &SWITCHOVER,
        ),
    ] {
        let started = Instant::now();
        let ended = switchover_with(change.clone(), arguments).await;
        assert_eq!(ended.code, 4, "{change:?}: {ended:?}");
        assert!(ended.err.contains("outcome is unknown"), "{ended:?}");
        assert!(started.elapsed() < Duration::from_secs(20));
    }
}

#[tokio::test]
async fn no_wait_leaves_once_the_order_is_taken() {
    let ended = switchover_with(Change::Hangs, &["switchover", "--yes", "--no-wait"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("submitted"), "{ended:?}");
    let refused = Change::Outcome(Vec::new(), Kind::Refused, "n1 is excluded");
    let ended = switchover_with(refused, &["switchover", "--yes", "--no-wait"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
}

#[tokio::test]
async fn a_settings_change_is_not_waited_for_where_nobody_wants_to() {
    let set = ["settings", "set", "lease_ms=2000", "--yes", "--no-wait"];
    let ended = switchover_with(Change::Hangs, &set).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.starts_with("submitted"), "{ended:?}");
    let json = [&set[..], &["--output", "json"]].concat();
    let ended = switchover_with(Change::Hangs, &json).await;
    let value: serde_json::Value = serde_json::from_str(&ended.out).expect("json");
    assert_eq!(value["outcome"], "submitted");
}

#[tokio::test]
async fn status_without_quorum_is_0() {
    let member = Fake {
        status: without_quorum(),
        ..Fake::new()
    }
    .serve()
    .await;
    let ended = run(&member.to_string(), &["status", "--output", "json"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let value: serde_json::Value = serde_json::from_str(&ended.out).expect("json");
    assert_eq!(value["quorum"], false);
    assert_eq!(value["primary"], serde_json::Value::Null);
    assert_eq!(value["raft"]["leader"], serde_json::Value::Null);
    assert_eq!(value["stale_ms"], 4200);
}

#[tokio::test]
async fn a_problem_makes_doctor_1_and_a_warning_does_not() {
    let finding = |level: &str| v1::Finding {
        level: level.into(),
        check: "voters".into(),
        text: "two voters".into(),
        way_out: "add a witness".into(),
    };
    for (level, code) in [("ok", 0), ("warning", 0), ("problem", 1)] {
        let fake = Fake {
            findings: vec![finding(level)],
            ..Fake::new()
        };
        let member = fake.serve().await.to_string();
        let ended = run(&member, &["doctor"]).await;
        assert_eq!(ended.code, code, "{level}: {ended:?}");
        assert!(ended.out.contains("voters: two voters") && ended.out.contains("-> add a witness"));
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_failure() {
    let member = Fake::new().serve().await.to_string();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = fake::ctl(&member, &["history"]);
    command.stdout(writer);
    let ended = ended(command).await;
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
}
