//! The wire of the lease: one stream to each grantor that nothing else uses.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::Stream;
use pgha_core::lease::{LeaseTiming, Renewal, RenewalRefusal};
use pgha_core::{Epoch, Lsn, Nonce};
use pgha_proto::v1;
use pgha_raft::RaftNode;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Grants;
use super::electorate::{ElectorateWatch, MembershipId, membership_id};

/// Answers that wait to be sent on one stream; a holder that does not read loses its lease anyway.
const ANSWERS_MAX: usize = 32;

/// The lease service before and after this member belongs to a cluster.
#[derive(Clone, Default)]
pub(crate) struct LeaseSlot(pub(crate) Arc<OnceLock<LeaseService>>);

/// Serves `Lease` on the lease thread.
#[derive(Clone)]
pub(crate) struct LeaseService {
    pub(crate) grants: Arc<Grants>,
    pub(crate) electorate: ElectorateWatch,
    pub(crate) raft: Arc<RaftNode>,
}

impl LeaseService {
    pub(super) async fn answer(
        &self,
        request: &v1::RenewRequest,
    ) -> Result<v1::RenewReply, Status> {
        let identity = request.identity.as_ref();
        let parties = self.raft.check_identity(identity)?;
        let renewal = renewal(request)?;
        if self.electorate.rules_out(parties.from, renewal.membership) {
            let text = format!("raft id {} is no member of this cluster", parties.from);
            return Err(Status::failed_precondition(text));
        }
        let outcome = self
            .grants
            .renew(&renewal)
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        if outcome == Err(RenewalRefusal::Unbelievable) {
            let text = format!(
                "the renewal speaks of epoch {}, which no cluster reaches; this member knows of {}",
                renewal.epoch.max(renewal.adopted),
                self.grants.known()
            );
            return Err(Status::failed_precondition(text));
        }
        Ok(v1::RenewReply {
            send: request.send,
            granted: outcome.is_ok(),
            adopted_epoch: self.grants.adopted().0,
            refusal: outcome
                .err()
                .map(|refusal| refusal.to_string())
                .unwrap_or_default(),
        })
    }
}

fn renewal(request: &v1::RenewRequest) -> Result<Renewal<MembershipId>, Status> {
    let timing = LeaseTiming::from_millis(u64::from(request.lease_ms))
        .map_err(|error| Status::invalid_argument(error.to_string()))?;
    let release_hash = request
        .release_hash
        .as_slice()
        .try_into()
        .map_err(|_| Status::invalid_argument("release_hash is not 32 bytes long"))?;
    Ok(Renewal {
        epoch: Epoch(request.epoch),
        nonce: Nonce(request.nonce),
        timing,
        // 0 where a member of an earlier version does not say.
        start_wait: Duration::from_micros(request.start_wait_us).max(timing.promise()),
        release_hash,
        flush_lsn: Lsn(request.flush_lsn),
        membership: membership_id(request.membership.as_ref()),
        adopted: Epoch(request.adopted_epoch),
        held: request.held,
    })
}

#[tonic::async_trait]
impl v1::lease_server::Lease for LeaseSlot {
    type RenewStream = Pin<Box<dyn Stream<Item = Result<v1::RenewReply, Status>> + Send>>;

    async fn renew(
        &self,
        request: Request<Streaming<v1::RenewRequest>>,
    ) -> Result<Response<Self::RenewStream>, Status> {
        let mut requests = request.into_inner();
        let (answers, receiver) = mpsc::channel(ANSWERS_MAX);
        let absent = || Status::unavailable("this member grants nothing yet");
        let service = self.0.get().cloned().ok_or_else(absent)?;
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                let answer = service.answer(&request).await;
                let broken = answer.is_err();
                if answers.send(answer).await.is_err() || broken {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}
