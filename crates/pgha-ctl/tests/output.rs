//! Names and order of fields are a contract; so is what people read.

mod fake;

use fake::{Fake, ended, run, without_quorum};

/// Compares with the reviewed text; `PGHA_UPDATE_GOLDEN=1` writes it anew, to be reviewed as a diff.
fn golden(name: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("PGHA_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).expect("writable");
    }
    let wanted = std::fs::read_to_string(&path).expect("reviewed text");
    assert_eq!(text, wanted, "{name}");
}

async fn out(fake: Fake, arguments: &[&str]) -> String {
    let member = fake.serve().await.to_string();
    let ended = run(&member, arguments).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    ended.out
}

#[tokio::test]
async fn status_as_json() {
    let text = out(Fake::new(), &["status", "--output", "json"]).await;
    golden("status.json", &text);
}

#[tokio::test]
async fn status_before_formation_as_json() {
    let mut fake = Fake::new();
    fake.status = pgha_proto::v1::StatusReply {
        cluster: "main".into(),
        reason: Some("forming".into()),
        detail: Some("waiting for n3".into()),
        answered_by: "n1".into(),
        ..Default::default()
    };
    let text = out(fake, &["status", "--output", "json"]).await;
    golden("status_forming.json", &text);
}

#[tokio::test]
async fn history_as_json() {
    let text = out(Fake::new(), &["history", "--output", "json"]).await;
    golden("history.json", &text);
}

#[tokio::test]
async fn explanation_as_json() {
    let text = out(Fake::new(), &["explain", "--output", "json"]).await;
    golden("explain.json", &text);
}

#[tokio::test]
async fn yaml_says_the_same_as_json() {
    for command in ["status", "history", "explain", "doctor"] {
        let json = out(Fake::new(), &[command, "--output", "json"]).await;
        let yaml = out(Fake::new(), &[command, "--output", "yaml"]).await;
        let json: serde_json::Value = serde_json::from_str(&json).expect("json");
        let yaml: serde_json::Value = serde_saphyr::from_str(&yaml).expect("yaml");
        assert_eq!(json, yaml, "{command}");
    }
}

#[tokio::test]
async fn status_for_people() {
    golden("status.txt", &out(Fake::new(), &["status"]).await);
    let fake = Fake {
        status: without_quorum(),
        ..Fake::new()
    };
    golden("status_no_quorum.txt", &out(fake, &["status"]).await);
}

#[tokio::test]
async fn history_and_explanation_for_people() {
    golden("history.txt", &out(Fake::new(), &["history"]).await);
    golden("explain.txt", &out(Fake::new(), &["explain"]).await);
    let member = Fake::new().serve().await.to_string();
    let ended = run(&member, &["explain", "--epoch", "9"]).await;
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (1, "pgha-ctl: epoch 9 never had a primary\n")
    );
}

#[tokio::test]
async fn connection_strings_list_every_member() {
    let libpq = "host=127.0.0.1,127.0.0.1,127.0.0.1 port=6501,6502,6503 dbname=app user=web target_session_attrs=read-write";
    let uri = "postgresql://web@127.0.0.1:6501,127.0.0.1:6502,127.0.0.1:6503/app?target_session_attrs=read-write";
    let arguments = ["dsn", "--dbname", "app", "--user", "web"];
    assert_eq!(
        out(Fake::new(), &arguments).await,
        format!("libpq: {libpq}\nuri:   {uri}\n")
    );
    let bare = [&arguments[..], &["--notation", "libpq"]].concat();
    assert_eq!(out(Fake::new(), &bare).await, format!("{libpq}\n"));
    let read_only = out(Fake::new(), &["show", "uri", "--read-only"]).await;
    assert_eq!(
        read_only,
        "postgresql://127.0.0.1:6601,127.0.0.1:6602,127.0.0.1:6603/postgres?target_session_attrs=any\n"
    );
}

#[tokio::test]
async fn other_tools_names_mean_the_same() {
    let status = out(Fake::new(), &["status"]).await;
    for arguments in [&["list"][..], &["show", "state"], &["cluster", "show"]] {
        assert_eq!(out(Fake::new(), arguments).await, status, "{arguments:?}");
    }
    let settings = out(Fake::new(), &["settings", "show"]).await;
    assert!(
        settings.contains("proxy.hold_ms") && settings.contains("shared_buffers"),
        "{settings}"
    );
    for arguments in [&["show-config"][..], &["spec"]] {
        assert_eq!(out(Fake::new(), arguments).await, settings, "{arguments:?}");
    }
}

#[tokio::test]
async fn settings_are_set_at_the_version_that_was_read() {
    let fake = Fake::new();
    let member = fake.clone().serve().await.to_string();
    let arguments = [
        "settings",
        "set",
        "lease_ms=2000",
        "--unset",
        "proxy.hold_ms",
        "--yes",
    ];
    let ended = run(&member, &arguments).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended.out.contains("version 5") && ended.out.contains("lease_ms: 1500 -> 2000"),
        "{ended:?}"
    );
    assert_eq!(
        fake.seen(),
        [r#"{"lease_ms": "2000"} ["proxy.hold_ms"] Some(4)"#]
    );
    let ended = run(&member, &["settings", "set", "leese_ms=1", "--yes"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("no such key"), "{ended:?}");
}

#[tokio::test]
async fn settings_are_edited_in_the_users_editor() {
    let fake = Fake::new();
    let member = fake.clone().serve().await.to_string();
    let edit = |editor: &'static str| {
        let mut command = fake::ctl(&member, &["settings", "edit", "--yes"]);
        command.env("EDITOR", editor);
        ended(command)
    };
    let unchanged = edit("true").await;
    assert_eq!(
        (unchanged.code, unchanged.out.as_str()),
        (0, "nothing changed\n")
    );
    assert_eq!(edit("false").await.code, 1);
    assert_eq!(fake.seen(), Vec::<String>::new());
    assert_eq!(edit("sed -i s/lease_ms=1500/lease_ms=3000/").await.code, 0);
    assert_eq!(fake.seen(), [r#"{"lease_ms": "3000"} [] Some(4)"#]);
}

#[tokio::test]
async fn completions_are_for_this_program() {
    let script = out(Fake::new(), &["completions", "bash"]).await;
    assert!(script.contains("switchover") && script.contains("--allow-data-loss"));
}
