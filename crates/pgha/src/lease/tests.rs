//! The lease beside a running Raft group of one, with no agent: whatever its threads know, nobody
//! but the log has told them.

use std::sync::Arc;
use std::time::Duration;

use pgha_core::lease::{LeaseTiming, Release, Renewal, RenewalRefusal, release_hash};
use pgha_core::report::ReleaseNote;
use pgha_core::{Epoch, Generation, Lsn, Mono, Nonce, RaftId};
use pgha_guard::clock;
use pgha_proto::{Parties, v1};
use pgha_proxy::Gate;
use pgha_raft::{MembershipChange, Peer, RaftNode};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, Streaming};

use super::electorate::{ElectorateWatch, MembershipId};
use super::{Grants, HolderHandle, HolderShared, HolderThread, LeaseService};
use crate::lone::Lone;
use crate::wake::Wake;

const PATIENCE: Duration = Duration::from_secs(15);

struct Member {
    raft: Arc<RaftNode>,
    grants: Arc<Grants>,
    electorate: ElectorateWatch,
    _dir: TempDir,
}

/// The only voter of its group, who has waited for all promises of an earlier process.
async fn member() -> Member {
    let dir = tempfile::tempdir().unwrap();
    let lone = Lone::bound(&dir).await;
    lone.initialize().await;
    let Lone { store, raft, .. } = lone;
    let mut role = raft.role();
    let leads = role.wait_for(|role| role.is_leader && role.is_caught_up());
    tokio::time::timeout(PATIENCE, leads)
        .await
        .unwrap()
        .unwrap();
    let electorate = ElectorateWatch::new(&store, raft.state());
    let started = clock::now() - Duration::from_secs(3600);
    let grants = Grants::new(store, electorate.clone(), started, Wake::default());
    grants.set_caught_up(Duration::ZERO);
    Member {
        raft,
        grants: Arc::new(grants),
        electorate,
        _dir: dir,
    }
}

impl Member {
    /// Adds raft id 2, which changes the membership; 1 goes on alone.
    async fn changes_membership(&self) {
        self.changes_membership_with("127.0.0.1:1").await;
    }

    /// The same with an address for raft id 2.
    async fn changes_membership_with(&self, address: &str) {
        let peer = Peer {
            name: "n2".into(),
            store_id: "s2".into(),
            address: address.to_owned(),
        };
        let change = MembershipChange::AddLearner(RaftId(2), peer);
        self.raft.change_membership(change, PATIENCE).await.unwrap();
    }

    fn service(&self) -> LeaseService {
        LeaseService {
            grants: Arc::clone(&self.grants),
            electorate: self.electorate.clone(),
            raft: Arc::clone(&self.raft),
        }
    }

    /// What raft id 2 would send.
    fn request(&self) -> v1::RenewRequest {
        let role = self.raft.role().borrow().clone();
        v1::RenewRequest {
            identity: Some(v1::Identity::from(&Parties {
                cluster_id: "c".into(),
                generation: Generation(1),
                from: RaftId(2),
                from_store: "s2".into(),
                to: RaftId(1),
                to_store: Some(self.raft.store().store_id()),
            })),
            epoch: 1,
            nonce: 2,
            send: 1,
            lease_ms: 1500,
            release_hash: release_hash(b"secret").to_vec(),
            membership: role.effective_membership,
            ..v1::RenewRequest::default()
        }
    }

    fn holder(&self) -> HolderHandle {
        let thread = HolderThread {
            name: "n1".into(),
            nonce: Nonce(7),
            raft_id: RaftId(1),
            store_id: self.raft.store().store_id(),
            cluster_id: "c".into(),
            generation: Generation(1),
            agent_stall: Duration::from_secs(3600),
            electorate: self.electorate.clone(),
            grants: Arc::clone(&self.grants),
            gate: Arc::new(Gate::new()),
            shared: Arc::new(HolderShared::new()),
            wake: Wake::default(),
        };
        thread.start().unwrap()
    }
}

fn timing() -> LeaseTiming {
    LeaseTiming::from_millis(1500).unwrap()
}

fn renewal(membership: MembershipId) -> Renewal<MembershipId> {
    Renewal {
        epoch: Epoch(1),
        nonce: Nonce(2),
        timing: timing(),
        start_wait: timing().promise(),
        release_hash: release_hash(b"secret"),
        flush_lsn: Lsn(0),
        membership,
        adopted: Epoch(1),
        held: false,
    }
}

#[tokio::test]
async fn a_grantor_knows_a_new_membership_that_no_agent_told() {
    let member = member().await;
    let old = member.electorate.membership().unwrap();
    assert_eq!(member.grants.renew(&renewal(old)).await.unwrap(), Ok(()));
    member.changes_membership().await;
    let refused = member.grants.renew(&renewal(old)).await.unwrap();
    assert_eq!(refused, Err(RenewalRefusal::Membership));
    let collecting = renewal(member.electorate.membership().unwrap());
    let refused = member.grants.renew(&collecting).await.unwrap();
    assert_eq!(refused, Err(RenewalRefusal::StartWait));
    let holding = Renewal {
        held: true,
        ..collecting
    };
    assert_eq!(member.grants.renew(&holding).await.unwrap(), Ok(()));
}

/// Polls until the gate of epoch 1 may stay open beyond `after`.
async fn held_beyond(holder: &HolderHandle, after: Mono) -> Mono {
    let held = async {
        loop {
            let closes = holder.view().deadlines.map(|deadlines| deadlines.close);
            if let Some(close) = closes.filter(|close| *close > after) {
                return close;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, held)
        .await
        .expect("not held")
}

#[tokio::test]
async fn a_holder_renews_by_a_new_membership_that_no_agent_told() {
    let member = member().await;
    let holder = member.holder();
    holder.hold(Epoch(1), timing(), release_hash(b"secret"));
    held_beyond(&holder, Mono::ZERO).await;
    member.changes_membership().await;
    // By the old one its own grantor would refuse it, and the lease end before this.
    held_beyond(&holder, clock::now() + timing().lease()).await;
}

#[tokio::test]
async fn a_renewal_of_a_stranger_is_refused() {
    let member = member().await;
    let service = member.service();
    let mut request = member.request();
    let refusal = async |request: &v1::RenewRequest| service.answer(request).await.unwrap_err();
    let text = refusal(&request).await;
    assert_eq!(text.code(), Code::FailedPrecondition);
    assert!(text.message().contains("raft id 2 is no member"), "{text}");

    // Who counts with a newer membership may be in it: that heals, and is no error.
    let newer = v1::LogId {
        index: 1000,
        ..request.membership.unwrap()
    };
    let from_afar = v1::RenewRequest {
        membership: Some(newer),
        ..request.clone()
    };
    let reply = service.answer(&from_afar).await.unwrap();
    assert_eq!((reply.granted, &*reply.refusal), (false, "membership"));

    member.changes_membership().await;
    request.membership = member.request().membership;
    // Known by now, and answered as anybody after a change of the membership.
    let reply = service.answer(&request).await.unwrap();
    assert_eq!(reply.refusal, "start_wait");
    for (store, text) in [("s9", "admitted with store s2"), ("", "from_store_id")] {
        let mut request = request.clone();
        request.identity.as_mut().unwrap().from_store_id = store.to_owned();
        let status = refusal(&request).await;
        assert!(status.message().contains(text), "{status}");
    }
    request.identity.as_mut().unwrap().to_store_id = "s-of-old".to_owned();
    let status = refusal(&request).await;
    assert!(status.message().contains("for store s-of-old"));
}

#[tokio::test]
async fn an_epoch_beyond_belief_is_not_adopted() {
    let member = member().await;
    member.changes_membership().await;
    let request = v1::RenewRequest {
        adopted_epoch: u64::MAX,
        ..member.request()
    };
    let status = member.service().answer(&request).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains(&u64::MAX.to_string()), "{status}");
    assert_eq!(member.grants.adopted(), Epoch(0));
    assert_eq!(member.raft.store().adopted_epoch(), Epoch(0));
}

/// The next process of this member must refuse what is older, and it knows only what is on disk.
#[tokio::test]
async fn an_epoch_that_was_granted_is_on_disk() {
    let member = member().await;
    let membership = member.electorate.membership().unwrap();
    let granted = member.grants.renew(&renewal(membership)).await.unwrap();
    assert_eq!(granted, Ok(()));
    assert_eq!(member.raft.store().adopted_epoch(), Epoch(1));
}

#[tokio::test]
async fn a_release_is_noted_once() {
    let member = member().await;
    let membership = member.electorate.membership().unwrap();
    let granted = member.grants.renew(&renewal(membership)).await.unwrap();
    assert_eq!(granted, Ok(()));
    let note = |why: &str| ReleaseNote {
        why: why.to_owned(),
        shutdown_lsn: None,
        steps: Vec::new(),
    };
    let release = |secret: &[u8], why| member.grants.release(Epoch(1), secret, note(why));
    assert_eq!(release(b"guess", "a guess"), Release::Unfit);
    assert_eq!(release(b"secret", "first"), Release::First);
    assert_eq!(release(b"secret", "again"), Release::Again);
    assert_eq!(release(b"guess", "a guess"), Release::Unfit);
    let view = member.grants.view(Epoch(1), timing());
    assert_eq!(view.released, Some(note("first")));
}

/// Tells of every renewal that arrives, and answers none.
struct Ear(mpsc::UnboundedSender<v1::RenewRequest>);

#[tonic::async_trait]
impl v1::lease_server::Lease for Ear {
    type RenewStream = tokio_stream::Pending<Result<v1::RenewReply, Status>>;

    async fn renew(
        &self,
        request: Request<Streaming<v1::RenewRequest>>,
    ) -> Result<Response<Self::RenewStream>, Status> {
        let mut requests = request.into_inner();
        let heard = self.0.clone();
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                let _ = heard.send(request);
            }
        });
        Ok(Response::new(tokio_stream::pending()))
    }
}

#[tokio::test]
async fn a_learner_is_asked_and_does_not_count() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (heard, mut arrivals) = mpsc::unbounded_channel();
    let service = v1::lease_server::LeaseServer::new(Ear(heard));
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

    let member = member().await;
    member.changes_membership_with(&address).await;
    let holder = member.holder();
    holder.hold(Epoch(1), timing(), release_hash(b"secret"));
    let renewal = tokio::time::timeout(PATIENCE, arrivals.recv()).await;
    let renewal = renewal.unwrap().unwrap();
    assert_eq!((renewal.epoch, &*renewal.holder), (1, "n1"));
    assert_eq!(renewal.identity.unwrap().to_raft_id, 2);
    // It answers nothing, and the lease is held all the same.
    held_beyond(&holder, clock::now() + timing().lease()).await;
}
