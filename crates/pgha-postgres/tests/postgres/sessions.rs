//! pgha's own sessions: what they tell, and that nobody's settings reach them.

use std::time::Duration;

use nix::sys::signal::Signal;
use pgha_core::{Lsn, Secret, TimelineId};
use pgha_postgres::{DataDirectory, Session, SessionError};

use crate::common::{self, LIMIT, Node, installation};

#[test]
fn a_primary_tells_what_it_is() {
    common::run(async {
        let (mut node, mut session) = Node::primary("n1").await;
        let probe = session.probe(LIMIT).await.unwrap();
        assert!(!probe.in_recovery);
        assert_eq!(probe.timeline, TimelineId(1));
        assert!(probe.receiver.is_none() && probe.walsenders.is_empty() && probe.slots.is_empty());
        assert!(probe.flush.unwrap() > Lsn::ZERO);
        assert!(session.flush_lsn(LIMIT).await.unwrap() >= probe.flush.unwrap());
        let identity = session.identify(LIMIT).await.unwrap();
        assert_eq!(identity.system_identifier, probe.system_identifier);
        assert_eq!(identity.timeline, TimelineId(1));
        session.synchronous_barrier(LIMIT).await.unwrap();

        node.stop(Signal::SIGINT).await;
        let error = session.probe(LIMIT).await.unwrap_err();
        assert!(matches!(error, SessionError::Closed(_)), "{error:?}");
        let error = Session::connect(&node.session_options(), LIMIT)
            .await
            .err()
            .unwrap();
        assert!(matches!(error, SessionError::Refused(_)), "{error:?}");
        let clean = DataDirectory::inspect(&installation(), &node.layout.data_dir).unwrap();
        let DataDirectory::Cluster(cluster) = clean else {
            panic!("{clean:?}")
        };
        assert_eq!(
            cluster.control.state,
            pgha_postgres::control::ClusterState::ShutDown
        );
    });
}

/// An ALTER ROLE must not reach pgha's own sessions, nor a function in a user's schema.
#[test]
fn sessions_are_pinned() {
    common::run(async {
        let (node, session) = Node::primary("n1").await;
        let client = node.client().await;
        client
            .batch_execute(
                "ALTER ROLE postgres SET statement_timeout = '1ms';
                 ALTER ROLE postgres SET search_path = evil, pg_catalog;
                 ALTER ROLE postgres SET default_transaction_read_only = on;
                 CREATE SCHEMA evil;
                 CREATE FUNCTION evil.pg_is_in_recovery() RETURNS bool LANGUAGE sql AS 'SELECT true'",
            )
            .await
            .unwrap();
        // Version 13 knows no limit for idle sessions.
        let limits_idle = installation().version.major >= 14;
        if limits_idle {
            let sql = "ALTER ROLE postgres SET idle_session_timeout = '100ms'";
            client.batch_execute(sql).await.unwrap();
        }
        drop(session);
        let mut session = node.session().await;
        // An ordinary session of the role is ended for being idle, and sees it: pgha's is not.
        let victim = node.client().await;
        let deadline = tokio::time::Instant::now() + LIMIT;
        while limits_idle && !victim.is_closed() {
            assert!(
                tokio::time::Instant::now() < deadline,
                "idle_session_timeout did not act"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(!session.probe(LIMIT).await.unwrap().in_recovery);
        session
            .set_password("postgres", &Secret::new("x".into()), LIMIT)
            .await
            .unwrap();
    });
}
