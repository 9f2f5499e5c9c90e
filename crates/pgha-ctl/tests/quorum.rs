//! The way on with one member: what is shown, what is asked for, and that nothing is sent before.

mod fake;

use std::fs::File;
use std::io::Write;
use std::process::Stdio;

use fake::{Change, Ended, Fake, ctl, ended, run, without_quorum};
use nix::pty::openpty;

const RECOVER: [&str; 5] = ["quorum", "recover", "--confirm", "c-1", "--yes"];

fn lost() -> Fake {
    Fake {
        status: without_quorum(),
        ..Fake::new()
    }
}

#[tokio::test]
async fn shows_what_the_member_has_and_what_is_lost_with_the_others() {
    let member = lost().serve().await.to_string();
    let ended = run(&member, &["quorum", "show"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.out, include_str!("golden/quorum.txt"));
    let ended = run(&member, &["quorum", "show", "--output", "json"]).await;
    let value: serde_json::Value = serde_json::from_str(&ended.out).expect("json");
    assert_eq!(value["cluster_id"], "c-1");
    assert_eq!(value["known_loss_bytes"], 8192);
    assert_eq!(value["obstacle"], serde_json::Value::Null);
}

/// Positions on two timelines are not to be compared: it has more bytes, and lacks all that was served.
#[tokio::test]
async fn data_that_left_the_line_lacks_what_came_after() {
    let mut fake = lost();
    fake.quorum.end_of_wal = Some(0x0600_0000);
    fake.quorum.left_line_at = Some(0x0500_0148);
    let member = fake.clone().serve().await.to_string();
    let ended = run(&member, &["quorum", "show"]).await;
    for words in [
        "n1 lacks 8.0 KiB of that",
        "left the cluster's line at 0/5000148",
    ] {
        assert!(ended.out.contains(words), "{words}: {}", ended.out);
    }
}

#[tokio::test]
async fn recovers_and_waits_until_the_member_is_primary() {
    let fake = lost();
    let member = fake.clone().serve().await.to_string();
    let ended = run(&member, &RECOVER).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.out, "n1 is primary of epoch 3, generation 2\n");
    for words in [
        "n2, n3 are lost for ever",
        "n1 lacks 8.0 KiB of that",
        "goes on alone in generation 2, epoch 4",
    ] {
        assert!(ended.err.contains(words), "{words}: {}", ended.err);
    }
    let seen = fake.seen();
    assert_eq!(seen.len(), 1);
    for words in ["c-1", "survivor: \"n1\"", "generation: 1"] {
        assert!(seen[0].contains(words), "{seen:?}");
    }
}

#[tokio::test]
async fn without_the_right_confirmation_nothing_is_sent() {
    let fake = lost();
    let member = fake.clone().serve().await.to_string();
    let two = format!("{member},{member}");
    for (endpoints, arguments, words) in [
        (&member, &["quorum", "recover", "--yes"][..], "--confirm"),
        (&member, &RECOVER[..4], "no terminal"),
        (
            &member,
            &["quorum", "recover", "--confirm", "main", "--yes"],
            "is not the id of this cluster",
        ),
        (&two, &RECOVER[..], "2 endpoints"),
        (&two, &["quorum", "show"], "2 endpoints"),
    ] {
        let ended = run(endpoints, arguments).await;
        assert_eq!(ended.code, 2, "{arguments:?}: {ended:?}");
        assert!(ended.err.contains(words), "{ended:?}");
    }
    assert_eq!(fake.seen(), Vec::<String>::new());
}

/// Somebody types that on a terminal.
async fn typed(endpoints: &str, arguments: &[&str], line: &str) -> Ended {
    let terminal = openpty(None, None).expect("a terminal");
    let mut keyboard = File::from(terminal.master);
    keyboard.write_all(line.as_bytes()).expect("typed");
    let mut command = ctl(endpoints, arguments);
    command.stdin(Stdio::from(terminal.slave));
    ended(command).await
}

#[tokio::test]
async fn on_a_terminal_the_members_name_has_to_be_typed() {
    let fake = lost();
    let member = fake.clone().serve().await.to_string();
    for answer in ["y\n", "yes\n", "n2\n", "\n"] {
        let refused = typed(&member, &RECOVER[..4], answer).await;
        assert_eq!(refused.code, 2, "{answer:?}: {refused:?}");
        for words in [
            "n1 lacks 8.0 KiB of that",
            "not confirmed, nothing was changed",
        ] {
            assert!(refused.err.contains(words), "{words}: {}", refused.err);
        }
    }
    assert_eq!(fake.seen(), Vec::<String>::new());
    let done = typed(&member, &RECOVER[..4], "n1\n").await;
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn an_obstacle_is_1_and_nothing_is_sent() {
    let mut fake = lost();
    fake.quorum.obstacle = Some("n1 is a witness and has no data".to_owned());
    let member = fake.clone().serve().await.to_string();
    let ended = run(&member, &RECOVER).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert_eq!(
        ended.err,
        "pgha-ctl: n1 is a witness and has no data; nothing was changed\n"
    );
    assert_eq!(fake.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn a_refusal_is_1_and_a_member_that_does_not_come_back_is_4() {
    for (change, code) in [(Change::Refuses("a quorum answers"), 1), (Change::Hangs, 4)] {
        let fake = Fake { change, ..lost() };
        let member = fake.serve().await.to_string();
        let arguments = [&RECOVER[..], &["--timeout", "700ms"]].concat();
        let ended = run(&member, &arguments).await;
        assert_eq!(ended.code, code, "{ended:?}");
    }
}
