//! Any member will do.

mod fake;

use std::time::Duration;

use fake::{Fake, ctl, ended, run, without_quorum};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::ChildStdout;

const DEADLINE: Duration = Duration::from_secs(20);

async fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("bound").to_string()
}

fn named(name: &str) -> Fake {
    let mut fake = Fake::new();
    fake.status.answered_by = name.to_owned();
    fake
}

fn answered_by(out: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(out).expect("json");
    value["answered_by"].as_str().expect("text").to_owned()
}

#[tokio::test]
async fn the_next_one_is_tried_for_questions_and_changes() {
    let fake = named("n2");
    let endpoints = format!("{},{}", closed_port().await, fake.clone().serve().await);
    let ended = run(&endpoints, &["status", "--output", "json"]).await;
    assert_eq!(
        (ended.code, answered_by(&ended.out).as_str()),
        (0, "n2"),
        "{}",
        ended.err
    );
    assert_eq!(run(&endpoints, &["history"]).await.code, 0);
    assert_eq!(run(&endpoints, &["switchover", "--yes"]).await.code, 0);
    assert_eq!(fake.seen().len(), 1, "submitted once: {:?}", fake.seen());
}

#[tokio::test]
async fn the_variable_lists_endpoints_too() {
    let endpoints = format!("{},{}", closed_port().await, named("n3").serve().await);
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_pgha-ctl"));
    command
        .args(["status", "-o", "json"])
        .env("PGHA_ENDPOINTS", endpoints);
    let ended = ended(command).await;
    assert_eq!(
        (ended.code, answered_by(&ended.out).as_str()),
        (0, "n3"),
        "{}",
        ended.err
    );
}

#[tokio::test]
async fn a_member_with_a_quorum_is_preferred() {
    let mut lost = named("n1");
    lost.status = without_quorum();
    let (lost, living) = (lost.serve().await, named("n2").serve().await);
    let ended = run(&format!("{lost},{living}"), &["status", "--output", "json"]).await;
    assert_eq!(answered_by(&ended.out), "n2");
}

#[tokio::test]
async fn a_member_that_cannot_serve_a_question_passes_it_on() {
    let mut lost = named("n1");
    lost.unavailable = Some("no quorum answers");
    let (lost, living) = (lost.serve().await, named("n2").serve().await);
    assert_eq!(run(&format!("{lost},{living}"), &["history"]).await.code, 0);
    let ended = run(&lost.to_string(), &["history"]).await;
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (1, "pgha-ctl: no quorum answers\n")
    );
}

#[tokio::test]
async fn doctor_names_endpoints_that_are_silent_or_of_another_cluster() {
    let mut foreign = named("x1");
    foreign.status.cluster_id = Some("c-2".into());
    let closed = closed_port().await;
    let own = named("n1").serve().await;
    let foreign = foreign.serve().await;
    let ended = run(&format!("{own},{closed},{foreign}"), &["doctor"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.out.contains(&format!("{closed} does not answer")),
        "{ended:?}"
    );
    assert!(
        ended.out.contains(&format!("{foreign} to c-2")),
        "{ended:?}"
    );
}

#[tokio::test]
async fn watch_shows_a_change_as_one_more_line_and_nothing_in_between() {
    let fake = named("n1");
    let member = fake.clone().serve().await.to_string();
    let mut child = ctl(&member, &["status", "--watch", "--output", "json"])
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    assert_eq!(answered_by(&next(&mut lines).await), "n1");
    // Two more answers that differ in nothing but the age of the view.
    let mut asked = fake.asked.subscribe();
    let thrice = asked.wait_for(|times| *times >= 3);
    tokio::time::timeout(DEADLINE, thrice)
        .await
        .expect("in time")
        .expect("serving");
    *fake.later.lock().expect("no panic while held") = Some(without_quorum());
    let line = next(&mut lines).await;
    let value: serde_json::Value = serde_json::from_str(&line).expect("json");
    assert_eq!(value["quorum"], false);
}

async fn next(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    let line = tokio::time::timeout(DEADLINE, lines.next_line())
        .await
        .expect("in time");
    line.expect("readable").expect("a line")
}
