//! For tests: a Raft group of one, on a store of its own.

use std::sync::Arc;

use pgha_core::{Generation, RaftId};
use pgha_raft::{Binding, FormedMember, Options, RaftNode, RaftService, Store};
use tempfile::TempDir;

/// A member that is alone.
pub(crate) struct Lone {
    pub(crate) store: Store,
    pub(crate) raft: Arc<RaftNode>,
    members: Vec<FormedMember>,
}

impl Lone {
    /// n1, bound to a cluster that has no entry yet.
    pub(crate) async fn bound(dir: &TempDir) -> Self {
        let store = Store::open(&dir.path().join("raft")).unwrap();
        let members = vec![FormedMember {
            name: "n1".into(),
            raft_id: RaftId(1),
            store_id: store.store_id(),
            address: "127.0.0.1:1".to_owned(),
            witness: false,
        }];
        let binding = Binding {
            cluster: "main".to_owned(),
            cluster_id: "c".into(),
            generation: Generation(1),
            raft_id: RaftId(1),
            members: members.clone(),
        };
        store.bind(binding).await.unwrap();
        let service = RaftService::new();
        let raft = RaftNode::start(store.clone(), Options::default(), &service);
        let raft = Arc::new(raft.await.unwrap());
        Self {
            store,
            raft,
            members,
        }
    }

    /// It elects itself.
    pub(crate) async fn initialize(&self) {
        self.raft.initialize(&self.members).await.unwrap();
    }
}
