//! What sidecars ask each other beside Raft and leases.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use pgha_core::lease::Release;
use pgha_core::{Epoch, Lsn, MemberName, Mono, Nonce, Reason, StoreId};
use pgha_guard::clock;
use pgha_proto::v1;
use pgha_proto::v1::member_server::Member;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Joined, Shared};
use crate::release;
use crate::written;

/// Signs of life to a lease, where nothing changed: a report counts for half a lease.
const BEATS_PER_LEASE: u32 = 4;
/// For the answer to a Hello.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(1);
const REPORTS_MAX: usize = 8;
const CONFIRM_MAX: Duration = Duration::from_millis(400);
const RELAY_MAX: Duration = Duration::from_secs(1);

/// Until the next beat. Beats are multiples of one clock, so that those of all streams fall together:
/// an idle sidecar then wakes once for all of them.
fn until_beat(now: Mono, beat: Duration) -> Duration {
    let beat_nanos = u64::try_from(beat.as_nanos()).unwrap_or(u64::MAX).max(1);
    Duration::from_nanos(beat_nanos - now.as_nanos() % beat_nanos)
}

/// Serves `Member`.
#[derive(Clone)]
pub(crate) struct MemberService(pub(crate) Shared);

impl MemberService {
    fn joined(&self) -> Result<&Joined, Status> {
        let absent = || Status::unavailable("this member belongs to no cluster yet");
        self.0.joined.get().ok_or_else(absent)
    }

    /// Whether a quorum confirms, within this call, that the cluster lives: by this member as its
    /// leader, or by the leader that it has just heard.
    async fn confirmed(&self) -> bool {
        let Some(joined) = self.0.joined.get() else {
            return false;
        };
        let role = joined.raft.role().borrow().clone();
        if role.is_leader {
            return joined.raft.confirm_quorum(CONFIRM_MAX).await.is_ok();
        }
        role.quorum_fresh && role.leader.is_some()
    }

    fn relay(&self, request: &v1::ReleaseRequest) {
        let Some(joined) = self.0.joined.get() else {
            return;
        };
        let state = joined.raft.state().borrow().state.clone();
        for (name, member) in state.members {
            if name == self.0.config.name || name.as_str() == request.holder {
                continue;
            }
            let request = v1::ReleaseRequest {
                relayed: true,
                ..request.clone()
            };
            tokio::spawn(async move {
                let send = release::send_once(&member.addresses.raft, request);
                let _ = tokio::time::timeout(RELAY_MAX, send).await;
            });
        }
    }

    /// The sidecar that led has ended with the primary: nobody has to be patient with it.
    fn note_dead_leader(joined: &Joined, request: &v1::ReleaseRequest) {
        let sidecar_gone = request.cause == pgha_guard::EmptyCause::SidecarGone.as_str();
        let leader = joined.raft.leader();
        if let Some(leader) = leader.filter(|l| sidecar_gone && l.name.as_str() == request.holder) {
            joined.raft.leader_gone(leader.raft_id);
        }
    }
}

#[tonic::async_trait]
impl Member for MemberService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::Report, Status>> + Send>>;

    async fn hello(
        &self,
        request: Request<v1::HelloRequest>,
    ) -> Result<Response<v1::HelloReply>, Status> {
        let confirmed = self.confirmed().await;
        let mut reply = self.0.formation.hello_reply(confirmed);
        if let Some(joined) = self.0.joined.get() {
            reply.leader_address = joined.raft.leader().map(|l| l.address).unwrap_or_default();
            let request = request.into_inner();
            let name = MemberName(request.from_name);
            let known = joined
                .raft
                .state()
                .borrow()
                .state
                .members
                .get(&name)
                .map(|m| m.raft_id.0);
            reply.your_raft_id = known.unwrap_or_default();
            let asker = StoreId(request.from_store_id);
            reply.your_store_sequence = written::wire(joined.peers.written(&asker).as_ref()).0;
        }
        reply.detail = self.0.waiting.borrow().1.clone();
        Ok(Response::new(reply))
    }

    async fn form(
        &self,
        request: Request<v1::FormRequest>,
    ) -> Result<Response<v1::FormReply>, Status> {
        let outcome = self.0.formation.accept(request.into_inner()).await;
        let accepted = outcome.is_ok();
        let reason = outcome.err().unwrap_or_default();
        Ok(Response::new(v1::FormReply { accepted, reason }))
    }

    async fn rejoin(
        &self,
        request: Request<v1::RejoinRequest>,
    ) -> Result<Response<v1::RejoinReply>, Status> {
        let joined = self.joined()?;
        let reply = crate::rejoin::answer(joined, request.into_inner()).await;
        Ok(Response::new(reply))
    }

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let joined = self.joined()?;
        let parties = joined
            .raft
            .check_identity(request.get_ref().identity.as_ref())?;
        let asked = request.get_ref();
        let told_by = Nonce(asked.your_nonce);
        joined.own_store.hear(asked.your_store_sequence, told_by);
        let (your_store_sequence, your_nonce) =
            written::wire(joined.peers.written(&parties.from_store).as_ref());
        let identity = joined
            .raft
            .identity_to(parties.from, Some(parties.from_store));
        let mut published = joined.published.clone();
        let state = joined.raft.state();
        let (reports, receiver) = mpsc::channel(REPORTS_MAX);
        tokio::spawn(async move {
            let mut told = 0;
            loop {
                let current = Arc::clone(&published.borrow_and_update());
                let json = match &current.report {
                    Some(report) if current.sequence != told => {
                        serde_json::to_vec(report).unwrap_or_default()
                    }
                    _ => Vec::new(),
                };
                told = current.sequence;
                let report = v1::Report {
                    identity: Some(identity.clone()),
                    sequence: current.sequence,
                    report_json: json,
                    your_store_sequence,
                    your_nonce,
                    cluster_reason: current.why.cluster.as_ref().map(|(reason, text)| {
                        v1::ClusterReason {
                            reason: reason.code().to_owned(),
                            text: text.clone(),
                        }
                    }),
                };
                if reports.send(Ok(report)).await.is_err() {
                    return;
                }
                let beat = state.borrow().state.settings.lease().lease() / BEATS_PER_LEASE;
                let rest = until_beat(clock::now(), beat);
                let changed = tokio::time::timeout(rest, published.changed()).await;
                if matches!(changed, Ok(Err(_))) {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn release(
        &self,
        request: Request<v1::ReleaseRequest>,
    ) -> Result<Response<v1::ReleaseReply>, Status> {
        let joined = self.joined()?;
        let request = request.into_inner();
        release::check(&joined.raft.state().borrow().state, &request)?;
        let note = release::note(
            &request.cause,
            request.seen_to_fenced_us,
            request.seen_to_empty_us,
            (request.shutdown_lsn != 0).then_some(Lsn(request.shutdown_lsn)),
        );
        let release = joined
            .grants
            .release(Epoch(request.epoch), &request.secret, note);
        // A repeated one is answered alike and does nothing: each does its work once.
        if release == Release::First {
            tracing::info!(
                epoch = request.epoch,
                holder = request.holder,
                "an epoch was released"
            );
            Self::note_dead_leader(joined, &request);
            if !request.relayed {
                self.relay(&request);
            }
        }
        let accepted = release.fits();
        let reason = if accepted {
            String::new()
        } else {
            "the secret does not fit a promise made here".to_owned()
        };
        Ok(Response::new(v1::ReleaseReply { accepted, reason }))
    }
}

/// Asks every listed peer what it is; none for those who do not answer in time.
pub(crate) async fn ask_peers(
    peers: &BTreeMap<MemberName, String>,
    request: &v1::HelloRequest,
    within: Duration,
) -> BTreeMap<MemberName, Option<v1::HelloReply>> {
    let asks = peers.iter().map(|(name, address)| async move {
        let ask = async {
            let channel = crate::net::channel(address)?;
            let mut client = v1::member_client::MemberClient::new(channel);
            client.hello(request.clone()).await.ok()
        };
        let answer = tokio::time::timeout(within, ask).await.ok().flatten();
        (name.clone(), answer.map(Response::into_inner))
    });
    futures_util::future::join_all(asks)
        .await
        .into_iter()
        .collect()
}

/// What a member that waits says.
pub(crate) fn forming() -> (Reason, String) {
    (Reason::Forming, "asking the listed peers".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_of_all_streams_fall_together() {
        let beat = Duration::from_millis(200);
        let at = |ms: u64| Mono::from_nanos(ms * 1_000_000);
        assert_eq!(until_beat(at(1010), beat), Duration::from_millis(190));
        assert_eq!(until_beat(at(1150), beat), Duration::from_millis(50));
        // At a beat the next one is due, never a pause of nothing.
        assert_eq!(until_beat(at(1200), beat), beat);
    }
}
