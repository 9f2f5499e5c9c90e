//! Parameters: what is accepted arrives, what needs a restart or is refused is told.

use std::collections::BTreeMap;

use pgha_postgres::config::check_parameters;

use crate::common::{self, LIMIT, Node, installation, parameters};

/// Whatever is accepted comes out of PostgreSQL's own parser as it went in.
#[test]
fn values_survive_postgresqls_own_parser() {
    common::run(async {
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
    common::run(async {
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

#[test]
fn user_parameters_of_another_spelling_are_one() {
    let map = BTreeMap::from([("Work_Mem".to_owned(), "1MB".to_owned())]);
    let trust = pgha_postgres::config::ParameterTrust::DataOnly;
    let parsed = pgha_postgres::config::UserParameters::parse(&map, trust).unwrap();
    assert_eq!(parsed.get("work_mem"), Some("1MB"));
}
