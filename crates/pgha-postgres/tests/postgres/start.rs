//! When PostgreSQL may be started.

use pgha_core::Epoch;
use pgha_postgres::config::{StartError, StartOptions, StartRole, postgres_command};
use pgha_postgres::{JobKind, Marker, initdb};

use crate::common::{self, Node, initdb_options, installation, parameters};

#[test]
fn a_standing_marker_keeps_it_down() {
    common::run(async {
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
