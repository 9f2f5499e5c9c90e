//! A new cluster, its configuration and its sessions, on a real PostgreSQL.

mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use common::{LIMIT, Node, PASSWORD, REPLICATION, initdb_options, installation, parameters};
use nix::sys::signal::Signal;
use pgha_core::{Epoch, Lsn, Secret, TimelineId};
use pgha_postgres::config::{
    StartError, StartOptions, StartRole, check_parameters, postgres_command,
};
use pgha_postgres::session::{Knock, knock};
use pgha_postgres::{
    DataDirectory, InitdbError, JobKind, Marker, Session, SessionError, initdb, prepare_primary,
};
use tokio_postgres::NoTls;

#[test]
fn makes_a_cluster_and_leaves_nothing_else() {
    common::run("makes_a_cluster_and_leaves_nothing_else", async {
        let node = Node::new("n1");
        let data_dir = &node.layout.data_dir;
        let inspect = || DataDirectory::inspect(&installation(), data_dir).unwrap();
        assert_eq!(inspect(), DataDirectory::Missing);
        std::fs::create_dir(data_dir).unwrap();
        assert_eq!(inspect(), DataDirectory::Empty);

        let started = std::time::Instant::now();
        let identifier = initdb(&installation(), &node.layout, &initdb_options())
            .await
            .unwrap();
        println!("initdb took {:?}", started.elapsed());

        let DataDirectory::Cluster(cluster) = inspect() else {
            panic!("{:?}", inspect())
        };
        assert_eq!(cluster.control.system_identifier, identifier);
        assert!(cluster.control.checksums);
        assert_eq!(cluster.control.timeline, TimelineId(1));
        assert!(!Marker::stands(&node.layout.run_dir).unwrap());
        let mode = std::fs::metadata(data_dir).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let left: Vec<_> = std::fs::read_dir(&node.layout.run_dir).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");

        let again = initdb(&installation(), &node.layout, &initdb_options())
            .await
            .unwrap_err();
        assert!(matches!(again, InitdbError::Occupied { .. }), "{again}");
    });
}

#[test]
fn refuses_a_directory_of_somebody_else() {
    common::run("refuses_a_directory_of_somebody_else", async {
        let node = Node::new("n1");
        let data_dir = &node.layout.data_dir;
        std::fs::create_dir(data_dir).unwrap();
        std::fs::write(data_dir.join("thesis.txt"), "years").unwrap();
        let found = DataDirectory::inspect(&installation(), data_dir).unwrap();
        assert_eq!(
            found,
            DataDirectory::NotPostgres {
                example: "thesis.txt".into()
            }
        );
        assert!(
            initdb(&installation(), &node.layout, &initdb_options())
                .await
                .is_err()
        );
        assert!(data_dir.join("thesis.txt").exists());
        std::fs::write(data_dir.join("PG_VERSION"), "9\n").unwrap();
        let found = DataDirectory::inspect(&installation(), data_dir).unwrap();
        assert_eq!(found, DataDirectory::OtherMajor { major: "9".into() });
        let major = installation().version.major;
        std::fs::write(data_dir.join("PG_VERSION"), format!("{major}\n")).unwrap();
        let found = DataDirectory::inspect(&installation(), data_dir).unwrap();
        assert!(matches!(found, DataDirectory::Damaged { .. }), "{found:?}");
    });
}

#[test]
fn a_failed_initdb_leaves_no_cluster() {
    common::run("a_failed_initdb_leaves_no_cluster", async {
        let node = Node::new("n1");
        let mut options = initdb_options();
        options.locale = "xx_XX.no-such-locale".into();
        let error = initdb(&installation(), &node.layout, &options)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("invalid locale name"), "{error}");
        assert!(!error.to_string().contains(PASSWORD));
        assert!(!node.layout.data_dir.exists());
    });
}

#[test]
fn a_primary_tells_what_it_is() {
    common::run("a_primary_tells_what_it_is", async {
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

#[test]
fn a_standing_marker_keeps_it_down() {
    common::run("a_standing_marker_keeps_it_down", async {
        let node = Node::new("n1");
        initdb(&installation(), &node.layout, &initdb_options())
            .await
            .unwrap();
        let marker = Marker::begin(&node.layout.run_dir, JobKind::Rewind, Epoch(3)).unwrap();
        let options = StartOptions {
            listen_addresses: "127.0.0.1".into(),
            port: node.port,
            cluster_name: "n1".into(),
            role: StartRole::Primary,
            parameters: parameters(&[]),
        };
        let refused = postgres_command(&installation(), &node.layout, &options).unwrap_err();
        assert!(matches!(refused, StartError::JobUnfinished { .. }));
        marker.finish().unwrap();
        postgres_command(&installation(), &node.layout, &options).unwrap();
    });
}

/// Whatever is accepted comes out of PostgreSQL's own parser as it went in.
#[test]
fn values_survive_postgresqls_own_parser() {
    common::run("values_survive_postgresqls_own_parser", async {
        let (mut node, session) = Node::primary("n1").await;
        let values = [
            "plain",
            "",
            " ",
            "it's",
            "''",
            "\\",
            "\\'",
            "\\n",
            "# no comment",
            "a = b",
            "é 雪 \u{1F600}",
            "include 'x'",
            "$user, \"x\"",
            "tab\there",
            "\\0",
            "ends with \\",
        ];
        let names: Vec<_> = (0..values.len())
            .map(|at| format!("test.value_{at}"))
            .collect();
        let pairs: Vec<_> = names.iter().map(String::as_str).zip(values).collect();
        node.settings.parameters = parameters(&pairs);
        let report = session
            .apply(&node.layout.data_dir, &node.settings, LIMIT)
            .await
            .unwrap();
        assert!(
            report.pending_restart.is_empty() && report.refused.is_empty(),
            "{report:?}"
        );
        let client = node.client().await;
        for (name, value) in pairs {
            let row = client
                .query_one("SELECT current_setting($1)", &[&name])
                .await
                .unwrap();
            assert_eq!(row.get::<_, &str>(0), value);
        }
    });
}

#[test]
fn reports_what_needs_a_restart_and_what_is_refused() {
    common::run("reports_what_needs_a_restart_and_what_is_refused", async {
        let (mut node, session) = Node::primary("n1").await;
        let data_dir = node.layout.data_dir.clone();
        node.settings.parameters = parameters(&[
            ("shared_buffers", "64MB"),
            ("max_wal_senders", "20"),
            ("work_mem", "7MB"),
        ]);
        let report = session
            .apply(&data_dir, &node.settings, LIMIT)
            .await
            .unwrap();
        assert_eq!(
            report.pending_restart,
            ["max_wal_senders", "shared_buffers"]
        );
        let client = node.client().await;
        let show = |name: &'static str| {
            let client = &client;
            async move {
                client
                    .query_one(&format!("SHOW {name}"), &[])
                    .await
                    .unwrap()
                    .get::<_, String>(0)
            }
        };
        assert_eq!(show("work_mem").await, "7MB");

        node.settings.parameters = parameters(&[("work_mem", "much")]);
        let report = session
            .apply(&data_dir, &node.settings, LIMIT)
            .await
            .unwrap();
        assert_eq!(report.refused, ["work_mem"]);
        let check = |pairs: &'static [(&str, &str)]| {
            let data_dir = data_dir.clone();
            async move { check_parameters(&installation(), &data_dir, &parameters(pairs), LIMIT).await }
        };
        check(&[("work_mem", "8MB"), ("app.anything", "it's")])
            .await
            .unwrap();
        let error = check(&[("work_mem", "much")]).await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("invalid value for parameter \"work_mem\""),
            "{error}"
        );
        let error = check(&[("no_such_thing", "1")]).await.unwrap_err();
        assert!(error.to_string().contains("no_such_thing"), "{error}");

        // What belongs to pgha is out of reach of ALTER SYSTEM.
        node.settings.parameters = parameters(&[]);
        client
            .batch_execute("ALTER SYSTEM SET synchronous_standby_names = 'x'")
            .await
            .unwrap();
        client
            .batch_execute("ALTER SYSTEM SET primary_conninfo = 'host=elsewhere'")
            .await
            .unwrap();
        client
            .batch_execute("ALTER SYSTEM SET work_mem = '9MB'")
            .await
            .unwrap();
        client
            .batch_execute("ALTER SYSTEM SET fsync = off")
            .await
            .unwrap();
        session
            .apply(&data_dir, &node.settings, LIMIT)
            .await
            .unwrap();
        assert_eq!(show("synchronous_standby_names").await, "");
        assert_eq!(show("primary_conninfo").await, "");
        assert_eq!(show("fsync").await, "on");
        assert_eq!(show("work_mem").await, "9MB");
    });
}

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
    common::run("logins_need_a_password_over_tcp", async {
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

/// An ALTER ROLE must not reach pgha's own sessions, nor a function in a user's schema.
#[test]
fn sessions_are_pinned() {
    common::run("sessions_are_pinned", async {
        let (node, session) = Node::primary("n1").await;
        let client = node.client().await;
        client
            .batch_execute(
                "ALTER ROLE postgres SET statement_timeout = '1ms';
                 ALTER ROLE postgres SET idle_session_timeout = '100ms';
                 ALTER ROLE postgres SET search_path = evil, pg_catalog;
                 ALTER ROLE postgres SET default_transaction_read_only = on;
                 CREATE SCHEMA evil;
                 CREATE FUNCTION evil.pg_is_in_recovery() RETURNS bool LANGUAGE sql AS 'SELECT true'",
            )
            .await
            .unwrap();
        drop(session);
        let mut session = node.session().await;
        // An ordinary session of the role is ended for being idle, and sees it: pgha's is not.
        let victim = node.client().await;
        let deadline = tokio::time::Instant::now() + LIMIT;
        while !victim.is_closed() {
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

/// M11: with every connection taken the kept session still answers, and the error of a new one
/// says that PostgreSQL lives.
#[test]
fn a_full_connection_table_is_not_a_hang() {
    common::run("a_full_connection_table_is_not_a_hang", async {
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
    common::run("slow_is_told_from_dead", async {
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

#[test]
fn user_parameters_of_another_spelling_are_one() {
    let map = BTreeMap::from([("Work_Mem".to_owned(), "1MB".to_owned())]);
    let trust = pgha_postgres::config::ParameterTrust::DataOnly;
    let parsed = pgha_postgres::config::UserParameters::parse(&map, trust).unwrap();
    assert_eq!(parsed.get("work_mem"), Some("1MB"));
}
