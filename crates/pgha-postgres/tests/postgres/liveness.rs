//! Full or slow, told from dead.

use std::time::Duration;

use nix::sys::signal::Signal;
use pgha_postgres::config::StartRole;
use pgha_postgres::session::{Knock, knock};
use pgha_postgres::{Session, SessionError, prepare_primary};
use tokio_postgres::NoTls;

use crate::common::{self, LIMIT, Node, parameters};

/// M11: with every connection taken the kept session still answers, and the error of a new one
/// says that PostgreSQL lives.
#[test]
fn a_full_connection_table_is_not_a_hang() {
    common::run(async {
        let (mut node, session) = Node::primary("n1").await;
        drop(session);
        node.stop(Signal::SIGINT).await;
        node.settings.parameters = parameters(&[("max_connections", "12")]);
        prepare_primary(&node.layout.data_dir).unwrap();
        node.start(StartRole::Primary);
        let mut session = node.session().await;
        let mut clients = Vec::new();
        let error = loop {
            let connected = tokio_postgres::Config::new()
                .host_path(&node.layout.socket_dir)
                .port(node.port)
                .user("postgres")
                .connect(NoTls)
                .await;
            match connected {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    clients.push(client);
                    assert!(clients.len() < 20);
                }
                Err(error) => break error,
            }
        };
        assert_eq!(error.code().unwrap().code(), "53300");
        let error = Session::connect(&node.session_options(), LIMIT)
            .await
            .err()
            .unwrap();
        assert!(
            matches!(error, SessionError::TooManyConnections(_)),
            "{error:?}"
        );
        assert!(!session.probe(LIMIT).await.unwrap().in_recovery);
        assert_eq!(knock(&node.session_options(), LIMIT).await, Knock::Answered);
    });
}

/// A lock on a catalog that the monitoring views join does not stop a probe; a frozen PostgreSQL
/// is silent, and the session works again once it goes on.
#[test]
fn slow_is_told_from_dead() {
    common::run(async {
        let (node, mut session) = Node::primary("n1").await;
        session.probe(LIMIT).await.unwrap();
        let client = node.client().await;
        client
            .batch_execute("BEGIN; LOCK pg_authid, pg_database IN ACCESS EXCLUSIVE MODE")
            .await
            .unwrap();
        session.probe(Duration::from_secs(5)).await.unwrap();
        client.batch_execute("ROLLBACK").await.unwrap();

        let short = Duration::from_millis(200);
        node.signal(Signal::SIGSTOP);
        let error = Session::connect(&node.session_options(), short)
            .await
            .err()
            .unwrap();
        assert!(matches!(error, SessionError::Silent { .. }), "{error:?}");
        // Sessions that are open do not notice.
        session.probe(LIMIT).await.unwrap();
        let unheard = knock(&node.session_options(), short).await;
        assert!(matches!(unheard, Knock::Unanswered(_)), "{unheard:?}");
        node.signal(Signal::SIGCONT);
        let options = node.session_options();
        assert_eq!(knock(&options, LIMIT).await, Knock::Answered);
        // Where there is no socket any more, clients may still come over TCP.
        let socket = format!(".s.PGSQL.{}", node.port);
        let socket = node.layout.socket_dir.join(socket);
        std::fs::rename(&socket, socket.with_extension("away")).unwrap();
        let unknown = knock(&options, LIMIT).await;
        assert!(matches!(unknown, Knock::Undecided(_)), "{unknown:?}");
        std::fs::rename(socket.with_extension("away"), &socket).unwrap();

        client
            .batch_execute("CREATE TABLE t (id int); BEGIN; LOCK t")
            .await
            .unwrap();
        client
            .batch_execute("LOCK pg_replication_origin IN ACCESS EXCLUSIVE MODE")
            .await
            .unwrap();
        let error = session.fork_rows(short).await.unwrap_err();
        assert!(matches!(error, SessionError::Silent { .. }), "{error:?}");
        // The statement was cancelled: the lock is still held, and the session answers.
        session.probe(LIMIT).await.unwrap();
    });
}
