//! Who is logged in, told apart from who is on the way.

mod common;

use std::collections::HashSet;

use common::{LIMIT, Node, PASSWORD};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::NoTls;

/// Version 3.0, `user` `postgres`.
const STARTUP: &[u8] = b"\0\0\0\x17\0\x03\0\0user\0postgres\0\0";

#[test]
fn a_login_under_way_is_not_logged_in() {
    common::run("a_login_under_way_is_not_logged_in", async {
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
