//! openraft's conformance suite on sled.

use openraft::testing::{StoreBuilder, Suite};
use tempfile::TempDir;

use crate::machine::Machine;
use crate::store::Store;
use crate::types::{StorageError, TypeConfig};

struct OnDisk;

impl StoreBuilder<TypeConfig, Store, Machine, TempDir> for OnDisk {
    async fn build(&self) -> Result<(TempDir, Store, Machine), StorageError> {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("raft")).unwrap();
        let (machine, _) = Machine::restore(store.clone()).unwrap();
        Ok((dir, store, machine))
    }
}

#[test]
fn openraft_suite() {
    Suite::test_all(OnDisk).unwrap();
}
