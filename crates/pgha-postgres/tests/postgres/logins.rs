//! Who may log in, and who is logged in, told apart from who is on the way.

use std::collections::HashSet;

use pgha_core::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::NoTls;

use crate::common::{self, LIMIT, Node, PASSWORD, REPLICATION};

/// Version 3.0, `user` `postgres`.
const STARTUP: &[u8] = b"\0\0\0\x17\0\x03\0\0user\0postgres\0\0";

async fn tcp(node: &Node, user: &str, password: &str, database: &str) -> Result<(), String> {
    let mut config = tokio_postgres::Config::new();
    config
        .host("127.0.0.1")
        .port(node.port)
        .user(user)
        .password(password)
        .dbname(database);
    match config.connect(NoTls).await {
        Ok(_) => Ok(()),
        Err(error) => Err(error
            .as_db_error()
            .map_or_else(|| error.to_string(), |e| e.message().to_owned())),
    }
}

#[test]
fn logins_need_a_password_over_tcp() {
    common::run(async {
        let (node, session) = Node::primary("n1").await;
        let client = node.client().await;
        let bad: i64 = client
            .query_one(
                "SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL",
                &[],
            )
            .await
            .unwrap()
            .get(0);
        assert_eq!(bad, 0);
        assert_eq!(tcp(&node, "postgres", PASSWORD, "postgres").await, Ok(()));
        assert!(
            tcp(&node, "postgres", "wrong", "postgres")
                .await
                .unwrap_err()
                .contains("authentication")
        );
        assert_eq!(tcp(&node, REPLICATION, PASSWORD, "postgres").await, Ok(()));
        let other = tcp(&node, REPLICATION, PASSWORD, "template1")
            .await
            .unwrap_err();
        assert!(other.contains("pg_hba.conf rejects"), "{other}");

        let fresh = Secret::new("another'one".to_owned());
        session
            .set_password("postgres", &fresh, LIMIT)
            .await
            .unwrap();
        assert_eq!(
            tcp(&node, "postgres", "another'one", "postgres").await,
            Ok(())
        );
        client
            .batch_execute("ALTER SYSTEM SET log_statement = 'all'; SELECT pg_reload_conf()")
            .await
            .ok();
        session
            .ensure_replication_role(REPLICATION, &fresh, LIMIT)
            .await
            .unwrap();
        assert_eq!(
            tcp(&node, REPLICATION, "another'one", "postgres").await,
            Ok(())
        );
        let log = node.log_text();
        assert!(
            !log.contains("SCRAM-SHA-256$") && !log.contains("another"),
            "{log}"
        );

        node.write_authentication(&["host all nobody 127.0.0.1/32 reject"]);
        session.reload(LIMIT).await.unwrap();
        let rules: i64 = client
            .query_one(
                "SELECT count(*) FROM pg_hba_file_rules WHERE 'nobody' = ANY(user_name)",
                &[],
            )
            .await
            .unwrap()
            .get(0);
        assert_eq!(rules, 1);
    });
}

#[test]
fn a_login_under_way_is_not_logged_in() {
    common::run(async {
        let (node, session) = Node::primary("a").await;
        let _over_the_socket = node.client().await;
        let port = ("127.0.0.1", node.port);

        let mut challenged = TcpStream::connect(port).await.unwrap();
        challenged.write_all(STARTUP).await.unwrap();
        assert_eq!(challenged.read_u8().await.unwrap(), b'R');
        let _silent = TcpStream::connect(port).await.unwrap();

        let stream = TcpStream::connect(port).await.unwrap();
        let from = stream.local_addr().unwrap();
        let mut config = tokio_postgres::Config::new();
        config.user("postgres").password(PASSWORD);
        let (client, connection) = config.connect_raw(stream, NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        let logged_in = session.logged_in(LIMIT).await.unwrap();
        assert_eq!(logged_in, HashSet::from([from]));

        drop(client);
        connection.await.unwrap().unwrap();
        let deadline = tokio::time::Instant::now() + LIMIT;
        while !session.logged_in(LIMIT).await.unwrap().is_empty() {
            assert!(tokio::time::Instant::now() < deadline);
            tokio::task::yield_now().await;
        }
    });
}
