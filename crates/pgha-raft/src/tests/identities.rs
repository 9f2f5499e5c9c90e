//! Messages that are not for this member, or not from whom they say.

use pgha_core::Generation;
use pgha_proto::v1;
use tonic::{Code, Status};

use super::harness::Cluster;

/// Asks that member for a vote as another one would, but for one thing.
fn pre_vote(
    cluster: &Cluster,
    id: u64,
    change: impl Fn(&mut v1::Identity),
) -> Result<v1::PreVoteReply, Status> {
    cluster.pre_vote(id % 3 + 1, id, 1, change)
}

#[test]
fn are_refused_by_name() {
    let cluster = Cluster::formed(3);
    assert!(!pre_vote(&cluster, 1, |_| {}).unwrap().granted);
    let refused = |change: fn(&mut v1::Identity), code: Code, text: &str| {
        let status = pre_vote(&cluster, 1, change).unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(text), "{status}");
    };
    refused(
        |id| id.cluster_id = "other".into(),
        Code::FailedPrecondition,
        "cluster other",
    );
    refused(
        |id| id.to_raft_id = 2,
        Code::FailedPrecondition,
        "Raft id 2",
    );
    refused(
        |id| id.to_store_id = "old".into(),
        Code::FailedPrecondition,
        "store old",
    );
    refused(
        |id| id.from_store_id = "old".into(),
        Code::FailedPrecondition,
        "from old",
    );
    refused(
        |id| id.from_raft_id = 0,
        Code::InvalidArgument,
        "from_raft_id",
    );
    refused(
        |id| id.generation = 7,
        Code::FailedPrecondition,
        "sender in 7",
    );
    assert_eq!(*cluster.node(1).generation_seen().borrow(), Generation(7));
    assert_eq!(*cluster.node(2).generation_seen().borrow(), Generation(1));
}
