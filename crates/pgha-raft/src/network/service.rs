//! What this member answers to the others.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use openraft::raft::VoteResponse;
use pgha_proto::v1::raft_server::{Raft, RaftServer};
use pgha_proto::{FieldError, v1};
use tonic::{Request, Response, Status, Streaming};

use super::{codec, snapshot};
use crate::clock;
use crate::core::Core;
use crate::election::ear::Presence;
use crate::election::{prevote, supervisor};
use crate::types::Vote;

/// For the log to reach what a leader that hands over has.
const CATCH_UP_DEADLINE: Duration = Duration::from_millis(300);

/// The gRPC service. It exists before the member takes part in Raft, and answers "unavailable" until
/// [`RaftNode::start`](crate::RaftNode::start) puts a running member behind it.
#[derive(Clone, Default)]
pub struct RaftService {
    core: Arc<RwLock<Option<Arc<Core>>>>,
}

impl RaftService {
    /// A service with nothing behind it yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// For `tonic`'s router.
    pub fn server(&self) -> RaftServer<Self> {
        RaftServer::new(self.clone())
    }

    pub(crate) fn attach(&self, core: Option<Arc<Core>>) {
        *self.core.write().unwrap_or_else(PoisonError::into_inner) = core;
    }

    fn core(&self) -> Result<Arc<Core>, Status> {
        let core = self.core.read().unwrap_or_else(PoisonError::into_inner);
        let absent =
            || Status::unavailable("this member takes no part in Raft yet, or not any more");
        core.clone().ok_or_else(absent)
    }

    fn admit(&self, identity: Option<&v1::Identity>) -> Result<Arc<Core>, Status> {
        let core = self.core()?;
        core.check(identity)?;
        core.doubt.reached();
        Ok(core)
    }
}

#[tonic::async_trait]
impl Raft for RaftService {
    async fn append(
        &self,
        request: Request<v1::AppendRequest>,
    ) -> Result<Response<v1::AppendReply>, Status> {
        let request = request.into_inner();
        let core = self.admit(request.identity.as_ref())?;
        let rpc = codec::append_in(&request).map_err(invalid)?;
        let (vote, committed) = (rpc.vote, rpc.leader_commit);
        hear(&core, &vote);
        let response = core.raft.append_entries(rpc).await.map_err(stopped)?;
        if response.is_success() {
            core.ear.told(&vote, committed.as_ref());
        }
        Ok(Response::new(codec::append_reply_out(&response)))
    }

    async fn vote(
        &self,
        request: Request<v1::VoteRequest>,
    ) -> Result<Response<v1::VoteReply>, Status> {
        let request = request.into_inner();
        let core = self.admit(request.identity.as_ref())?;
        let rpc = codec::vote_request_in(&request).map_err(invalid)?;
        // Asked again here: a candidate may come without a PreVote, or long after it.
        let now = clock::now();
        let present = !request.transfer && matches!(core.presence(now), Presence::Fresh(_));
        if present || core.withholds_votes(now).is_some() {
            let refusal = VoteResponse {
                vote: core.server().vote,
                vote_granted: false,
                last_log_id: core.store.ends().1,
            };
            return Ok(Response::new(codec::vote_reply_out(&refusal)));
        }
        core.outwait_engine_lease().await;
        let response = core.raft.vote(rpc).await.map_err(stopped)?;
        Ok(Response::new(codec::vote_reply_out(&response)))
    }

    async fn pre_vote(
        &self,
        request: Request<v1::PreVoteRequest>,
    ) -> Result<Response<v1::PreVoteReply>, Status> {
        let request = request.into_inner();
        let core = self.admit(request.identity.as_ref())?;
        Ok(Response::new(prevote::judge(&core, &request).await))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<v1::SnapshotChunk>>,
    ) -> Result<Response<v1::SnapshotReply>, Status> {
        let mut stream = request.into_inner();
        let nothing = || Status::invalid_argument("a snapshot stream without a chunk");
        let first = stream.message().await?.ok_or_else(nothing)?;
        let core = self.admit(first.identity.as_ref())?;
        let vote = codec::vote_in("vote", first.vote.as_ref()).map_err(invalid)?;
        hear(&core, &vote);
        let snapshot = snapshot::collect(&first, &mut stream, || hear(&core, &vote)).await?;
        let response = core.raft.install_full_snapshot(vote, snapshot).await;
        let vote = response.map_err(stopped)?.vote;
        Ok(Response::new(v1::SnapshotReply {
            vote: Some(codec::vote_out(&vote)),
        }))
    }

    async fn elect(
        &self,
        request: Request<v1::ElectRequest>,
    ) -> Result<Response<v1::ElectReply>, Status> {
        let request = request.into_inner();
        let core = self.admit(request.identity.as_ref())?;
        let outcome =
            supervisor::take_over(&core, request.at_least.as_ref(), CATCH_UP_DEADLINE).await;
        Ok(Response::new(v1::ElectReply {
            started: outcome.is_ok(),
            reason: outcome.err().unwrap_or_default(),
        }))
    }
}

/// Notes that a leader spoke, before anything waits for a disk. One that was deposed does not count.
fn hear(core: &Core, vote: &Vote) {
    if vote.is_committed() && *vote >= core.server().vote {
        core.ear.hear(vote, clock::now());
    }
}

fn invalid(error: FieldError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn stopped(error: impl std::error::Error) -> Status {
    Status::unavailable(format!("Raft has ended here: {error}"))
}
