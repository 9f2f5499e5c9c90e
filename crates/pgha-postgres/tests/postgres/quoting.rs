//! Quoting, as PostgreSQL and libpq take it apart again.

use std::collections::BTreeSet;
use std::process::Command;

use pgha_core::Secret;
use pgha_postgres::config::{
    Conninfo, HbaOptions, Passfile, quote_identifier, quote_literal, write_authentication,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tokio_postgres::Client;

use crate::common::{self, LIMIT, Node, REPLICATION, installation, parameters};

const TEXTS: usize = 200;
/// `NAMEDATALEN` without the last byte: PostgreSQL cuts longer names off.
const NAME_BYTES_MAX: usize = 63;

/// Other ones at each run; what fails shows which.
fn texts(parts: &'static str) -> Vec<String> {
    let mut runner = TestRunner::default();
    let mut draw = || parts.new_tree(&mut runner).unwrap().current();
    (0..TEXTS).map(|_| draw()).collect()
}

/// Full of what means something to one of the readers.
fn nasty() -> Vec<String> {
    texts(concat!(
        r#"(['"\\$;#,:/*+@=%&!{}() \t-]|''|""|\\[bfnrtxu0'"\\]|\\[0-7]{3}|--|/\*|\*/|\$\$|"#,
        r#"E'|U&'|all|include|[^\p{Cc}]){0,12}"#
    ))
}

fn nasty_names() -> BTreeSet<String> {
    let is_name = |text: &String| {
        (1..=NAME_BYTES_MAX).contains(&text.len())
            && !text.starts_with("pg_")
            && !["public", "none"].contains(&text.as_str())
    };
    nasty().into_iter().filter(is_name).collect()
}

async fn texts_of(client: &Client, sql: &str) -> Vec<String> {
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn literals_and_identifiers_come_back() {
    common::run(async {
        let (node, _session) = Node::primary("n1").await;
        let client = node.client().await;

        let texts = nasty();
        let literals: Vec<_> = texts
            .iter()
            .map(|text| quote_literal(text).unwrap())
            .collect();
        let sql = format!("SELECT unnest(ARRAY[{}])", literals.join(", "));
        assert_eq!(texts_of(&client, &sql).await, texts);

        let names = nasty_names();
        let quoted: Vec<_> = names
            .iter()
            .map(|name| quote_identifier(name).unwrap())
            .collect();
        let sql = format!("SELECT 1 AS {}", quoted.join(", 1 AS "));
        let statement = client.prepare(&sql).await.unwrap();
        let columns = statement
            .columns()
            .iter()
            .map(|column| column.name().to_owned());
        assert_eq!(columns.collect::<Vec<_>>(), Vec::from_iter(names.clone()));

        for name in &quoted {
            client
                .batch_execute(&format!("CREATE ROLE {name}"))
                .await
                .unwrap();
        }
        let made = "SELECT rolname::text FROM pg_roles WHERE oid >= 16384 AND rolname <> ";
        let made = format!("{made}{}", quote_literal(REPLICATION).unwrap());
        assert_eq!(BTreeSet::from_iter(texts_of(&client, &made).await), names);
    });
}

#[test]
fn settings_come_back() {
    common::run(async {
        let (mut node, session) = Node::primary("n1").await;
        let texts = nasty();
        let names: Vec<_> = (0..TEXTS).map(|at| format!("test.value_{at:03}")).collect();
        let pairs = names
            .iter()
            .map(String::as_str)
            .zip(texts.iter().map(String::as_str));
        node.settings.parameters = parameters(&pairs.collect::<Vec<_>>());
        let report = session
            .apply(&node.layout.data_dir, &node.settings, LIMIT)
            .await
            .unwrap();
        assert!(report.refused.is_empty(), "{report:?}");

        let client = node.client().await;
        let written = "SELECT setting FROM pg_file_settings \
                       WHERE name LIKE 'test.value%' AND error IS NULL ORDER BY name";
        assert_eq!(texts_of(&client, written).await, texts);
        let literals: Vec<_> = names
            .iter()
            .map(|name| quote_literal(name).unwrap())
            .collect();
        let shown = literals.join(", ");
        let shown = format!("SELECT current_setting(name) FROM unnest(ARRAY[{shown}]) AS name");
        assert_eq!(texts_of(&client, &shown).await, texts);
    });
}

#[test]
fn names_come_back_from_the_authentication_files() {
    const FILES: usize = 20;
    common::run(async {
        let (node, _session) = Node::primary("n1").await;
        let client = node.client().await;
        let names = nasty_names()
            .into_iter()
            .filter(|name| !name.starts_with('/'))
            .take(3 * FILES);
        for three in names.collect::<Vec<_>>().chunks_exact(3) {
            let [system_user, superuser, replication_user] = three else {
                unreachable!("chunks of three");
            };
            let options = HbaOptions {
                system_user: system_user.clone(),
                superuser: superuser.clone(),
                replication_user: replication_user.clone(),
                members: vec!["127.0.0.1".parse().unwrap()],
                direct: false,
                user_lines: Vec::new(),
            };
            write_authentication(&node.layout, &options).unwrap();

            let rules = "SELECT coalesce(error, type || ' ' || array_to_string(user_name, ' | ')) \
                         FROM pg_hba_file_rules ORDER BY line_number LIMIT 5";
            let wanted = [
                format!("local {superuser}"),
                format!("host {replication_user}"),
                format!("host {replication_user}"),
                format!("local {replication_user}"),
                format!("host {replication_user}"),
            ];
            assert_eq!(texts_of(&client, rules).await, wanted, "{options:?}");
            if installation().version.major >= 15 {
                let map = "SELECT coalesce(error, sys_name || ' | ' || pg_username) \
                           FROM pg_ident_file_mappings";
                let wanted = [format!("{system_user} | {superuser}")];
                assert_eq!(texts_of(&client, map).await, wanted, "{options:?}");
            }
        }
    });
}

/// The walreceiver, `pg_basebackup` and `pg_rewind` read both by libpq, as `psql` does.
#[test]
fn libpq_logs_in_by_connection_string_and_password_file() {
    const LOGINS: usize = 20;
    common::run(async {
        let (node, session) = Node::primary("n1").await;
        let path = node.layout.conf_dir.join("nasty.pgpass");
        // Letters only of the others: passwords are normalised, and so shown as something else.
        let passwords = texts(r#"(['"\\$;#,:/*+@=%&!{}() \t-]|\\[:\\*]|[a-zé雪]){1,12}"#);
        let names = nasty_names().into_iter().take(LOGINS - 1);
        for (user, password) in names.chain(["*".to_owned()]).zip(passwords) {
            let secret = Secret::new(password.clone());
            session
                .ensure_replication_role(&user, &secret, LIMIT)
                .await
                .unwrap();
            let passfile = Passfile {
                user: &user,
                password: &secret,
            };
            passfile.write(&path).unwrap();
            let conninfo = Conninfo::new()
                .with("host", "127.0.0.1")
                .and_then(|text| text.with("port", &node.port.to_string()))
                .and_then(|text| text.with("dbname", "postgres"))
                .and_then(|text| text.with("user", &user))
                .and_then(|text| text.with("passfile", &path.to_string_lossy()))
                .unwrap();
            let output = Command::new(installation().program("psql"))
                .args([
                    "-XAtw",
                    "-c",
                    "SELECT session_user",
                    "-d",
                    conninfo.as_str(),
                ])
                .env_remove("PGPASSWORD")
                .env("PGCLIENTENCODING", "UTF8")
                .output()
                .unwrap();
            let shown = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(shown, format!("{user}\n"), "{password:?}: {output:?}");
        }
    });
}
