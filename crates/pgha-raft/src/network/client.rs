//! What this member sends on behalf of openraft.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft::error::{
    Fatal, Infallible, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable,
};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::{AnyError, OptionalSend, RaftNetwork, RaftNetworkFactory};
use pgha_core::{Generation, RaftId};
use pgha_proto::v1::raft_client::RaftClient;
use pgha_proto::{FieldError, v1};
use tokio::sync::watch;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::acks::Acks;
use super::channels::Channels;
use super::codec::{self, AppendRequest, AppendResponse};
use super::identity::{self, Me};
use super::snapshot;
use crate::clock;
use crate::runtime::ANSWER_DEADLINE;
use crate::types::{Peer, Snapshot, TypeConfig, Vote, log_id_out};

const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(30);
/// Between tries at a member that cannot be reached.
const BACKOFF: Duration = Duration::from_millis(100);

/// What all senders of this member share.
pub(crate) struct Links {
    pub me: Me,
    pub channels: Channels,
    pub acks: Acks,
    /// The highest generation of this cluster that anybody spoke of.
    pub generation_seen: watch::Sender<Generation>,
    /// The term that this member stands in at the old leader's own request; 0 for none.
    pub transfer_term: AtomicU64,
}

impl Links {
    /// A client for `peer`, and the identity to put on what it sends.
    pub(crate) fn to(
        &self,
        id: u64,
        peer: &Peer,
    ) -> Result<(RaftClient<Channel>, v1::Identity), tonic::transport::Error> {
        let store_id = Some(peer.store_id.clone()).filter(|id| !id.0.is_empty());
        let identity = self.me.to(RaftId(id), store_id);
        Ok((self.channels.client(&peer.address)?, identity))
    }

    /// Notes a generation that somebody of this cluster lives in.
    pub(crate) fn hear_generation(&self, theirs: Generation) {
        self.generation_seen.send_if_modified(|seen| {
            let news = theirs > *seen;
            *seen = (*seen).max(theirs);
            news
        });
    }

    /// Notes the generation of whoever refused a message of this member for being of another one.
    pub(crate) fn hear_refusal(&self, refusal: &Status) {
        if let Some(theirs) = identity::generation_of(refusal) {
            self.hear_generation(theirs);
        }
    }

    fn refused(&self, refusal: Status) -> RpcError {
        self.hear_refusal(&refusal);
        failed(refusal)
    }
}

/// Makes a [`Sender`] for each member.
pub(crate) struct Factory {
    pub links: Arc<Links>,
}

impl RaftNetworkFactory<TypeConfig> for Factory {
    type Network = Sender;

    async fn new_client(&mut self, target: u64, node: &Peer) -> Sender {
        Sender {
            links: self.links.clone(),
            target,
            peer: node.clone(),
        }
    }
}

/// Sends to one member.
pub(crate) struct Sender {
    links: Arc<Links>,
    target: u64,
    peer: Peer,
}

type RpcError = RPCError<u64, Peer, RaftError<u64, Infallible>>;

impl RaftNetwork<TypeConfig> for Sender {
    async fn append_entries(
        &mut self,
        rpc: AppendRequest,
        _option: RPCOption,
    ) -> Result<AppendResponse, RpcError> {
        let (mut client, identity) = self.links.to(self.target, &self.peer).map_err(failed)?;
        let mut request = Request::new(codec::append_out(identity, &rpc).map_err(failed)?);
        request.set_timeout(ANSWER_DEADLINE);
        let sent = clock::now();
        let reply = client.append(request).await;
        let reply = reply
            .map_err(|status| self.links.refused(status))?
            .into_inner();
        let response = codec::append_reply_in(&reply).map_err(failed)?;
        if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
            self.links.acks.record(&rpc.vote, self.target, sent);
        }
        Ok(response)
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        _option: RPCOption,
    ) -> Result<VoteResponse<u64>, RpcError> {
        let (mut client, identity) = self.links.to(self.target, &self.peer).map_err(failed)?;
        let transfer = self.links.transfer_term.load(Ordering::SeqCst) == rpc.vote.leader_id.term;
        let mut request = Request::new(v1::VoteRequest {
            identity: Some(identity),
            vote: Some(codec::vote_out(&rpc.vote)),
            last_log: rpc.last_log_id.as_ref().map(log_id_out),
            transfer,
        });
        request.set_timeout(ANSWER_DEADLINE);
        let sent = clock::now();
        let reply = client.vote(request).await;
        let reply = reply
            .map_err(|status| self.links.refused(status))?
            .into_inner();
        let response = codec::vote_reply_in(&reply).map_err(failed)?;
        if response.vote_granted {
            self.links.acks.record(&rpc.vote, self.target, sent);
        }
        Ok(response)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<TypeConfig, Fatal<u64>>> {
        let unreachable = |error: AnyError| StreamingError::Unreachable(Unreachable::from(error));
        let (mut client, identity) = self
            .links
            .to(self.target, &self.peer)
            .map_err(|error| unreachable(AnyError::new(&error)))?;
        let chunks = snapshot::chunks(identity, &vote, &snapshot);
        let mut request = Request::new(tokio_stream::iter(chunks));
        request.set_timeout(SNAPSHOT_DEADLINE);
        let sent = clock::now();
        let reply = tokio::select! {
            closed = cancel => return Err(closed.into()),
            reply = client.install_snapshot(request) => reply,
        };
        let reply = reply.map_err(|status| {
            self.links.hear_refusal(&status);
            unreachable(AnyError::new(&status))
        })?;
        let theirs = codec::vote_in("vote", reply.into_inner().vote.as_ref())
            .map_err(|error| unreachable(AnyError::new(&error)))?;
        if theirs <= vote {
            self.links.acks.record(&vote, self.target, sent);
        }
        Ok(SnapshotResponse::new(theirs))
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(BACKOFF))
    }
}

/// What keeps a message from being sent or understood.
trait Failure: std::error::Error + 'static {}
impl Failure for Status {}
impl Failure for tonic::transport::Error {}
impl Failure for serde_json::Error {}
impl Failure for FieldError {}

/// All failures are "unreachable", with a pause before the next try: openraft would repeat after a
/// "network error" at once, which took all ports of a host in no time.
fn failed(error: impl Failure) -> RpcError {
    RPCError::Unreachable(Unreachable::new(&error))
}
