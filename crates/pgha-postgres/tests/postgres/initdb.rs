//! A new data directory: made whole or not at all, and told from what is somebody else's.

use std::os::unix::fs::PermissionsExt;

use pgha_core::TimelineId;
use pgha_postgres::{DataDirectory, InitdbError, Marker, initdb};

use crate::common::{self, Node, PASSWORD, initdb_options, installation};

#[test]
fn makes_a_cluster_and_leaves_nothing_else() {
    common::run(async {
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
    common::run(async {
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
    common::run(async {
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
