//! A cluster for tests: members that can be killed, started again, cut off and slowed down.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pgha_core::{Applied, Command, Generation, RaftId};
use pgha_proto::v1;
use pgha_proto::v1::raft_client::RaftClient;
use pgha_proto::v1::raft_server::{Raft, RaftServer};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};

use crate::store::{Change, Disk, DiskError, Record};
use crate::types::Binding;
use crate::{FormedMember, Options, ProposeError, RaftNode, RaftService, RoleView, Store};

pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// Pairs (from, to) whose messages vanish.
type Cuts = Arc<Mutex<BTreeSet<(u64, u64)>>>;

/// A service in front of which messages can vanish.
struct Wire {
    service: RaftService,
    cuts: Cuts,
}

impl Wire {
    async fn pass(&self, identity: Option<&v1::Identity>) {
        let identity = identity.cloned().unwrap_or_default();
        let pair = (identity.from_raft_id, identity.to_raft_id);
        if self.cuts.lock().unwrap().contains(&pair) {
            std::future::pending::<()>().await;
        }
    }
}

#[tonic::async_trait]
impl Raft for Wire {
    async fn append(
        &self,
        request: Request<v1::AppendRequest>,
    ) -> Result<Response<v1::AppendReply>, Status> {
        let identity = request.get_ref().identity.clone();
        self.pass(identity.as_ref()).await;
        let reply = self.service.append(request).await;
        // The way back.
        let turned = identity.map(|id| v1::Identity {
            from_raft_id: id.to_raft_id,
            to_raft_id: id.from_raft_id,
            ..id
        });
        self.pass(turned.as_ref()).await;
        reply
    }

    async fn vote(
        &self,
        request: Request<v1::VoteRequest>,
    ) -> Result<Response<v1::VoteReply>, Status> {
        self.pass(request.get_ref().identity.as_ref()).await;
        self.service.vote(request).await
    }

    async fn pre_vote(
        &self,
        request: Request<v1::PreVoteRequest>,
    ) -> Result<Response<v1::PreVoteReply>, Status> {
        self.pass(request.get_ref().identity.as_ref()).await;
        self.service.pre_vote(request).await
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<v1::SnapshotChunk>>,
    ) -> Result<Response<v1::SnapshotReply>, Status> {
        self.service.install_snapshot(request).await
    }

    async fn elect(
        &self,
        request: Request<v1::ElectRequest>,
    ) -> Result<Response<v1::ElectReply>, Status> {
        self.pass(request.get_ref().identity.as_ref()).await;
        self.service.elect(request).await
    }
}

/// Instead of a delay: the disk fails.
pub(super) const BROKEN: u64 = u64::MAX;

/// A disk whose writes take so many milliseconds.
struct Slow {
    disk: Box<dyn Disk>,
    delay_ms: Arc<AtomicU64>,
}

impl Disk for Slow {
    fn read_all(&mut self) -> Result<Vec<Record>, DiskError> {
        self.disk.read_all()
    }

    fn commit(&mut self, changes: Vec<Change>) -> io::Result<()> {
        match self.delay_ms.load(Ordering::SeqCst) {
            BROKEN => return Err(io::Error::from_raw_os_error(nix::libc::EIO)),
            delay_ms => std::thread::sleep(Duration::from_millis(delay_ms)),
        }
        self.disk.commit(changes)
    }

    fn size_bytes(&self) -> io::Result<u64> {
        self.disk.size_bytes()
    }
}

pub(super) struct Running {
    pub node: Arc<RaftNode>,
    runtime: Runtime,
}

pub(super) struct Member {
    pub formed: FormedMember,
    pub dir: PathBuf,
    pub delay_ms: Arc<AtomicU64>,
    pub running: Option<Running>,
}

pub(super) struct Cluster {
    pub members: BTreeMap<u64, Member>,
    pub options: Options,
    pub cuts: Cuts,
    pub binding: Binding,
    home: TempDir,
}

/// A free port of loopback.
/// Below Linux's range for outgoing connections: a port that `bind(0)` hands out can be taken by any
/// connection before its member listens.
pub(super) fn free_address() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let drawn = u64::from(std::process::id()) * 61 + NEXT.fetch_add(1, Ordering::SeqCst);
        let address = format!("127.0.0.1:{}", 4000 + drawn % 8000);
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}

impl Cluster {
    /// Asks `to` for a vote in that term as `from` would, its identity changed first.
    pub(super) fn pre_vote(
        &self,
        from: u64,
        to: u64,
        term: u64,
        change: impl FnOnce(&mut v1::Identity),
    ) -> Result<v1::PreVoteReply, Status> {
        let formed = &self.members[&to].formed;
        let address = format!("http://{}", formed.address);
        let store = Some(formed.store_id.clone());
        let mut identity = self.node(from).identity_to(RaftId(to), store);
        change(&mut identity);
        self.on(to, async move |_| {
            let mut client = RaftClient::connect(address).await.unwrap();
            let request = v1::PreVoteRequest {
                identity: Some(identity),
                term,
                last_log: None,
                gone_leader_raft_id: 0,
            };
            client.pre_vote(request).await.map(Response::into_inner)
        })
    }

    /// So many members that know of each other and were never started.
    pub(super) fn new(size: u64, options: Options) -> Self {
        let mut cluster = Self {
            members: BTreeMap::new(),
            options,
            cuts: Cuts::default(),
            binding: Binding {
                cluster: "main".to_owned(),
                cluster_id: "c-test".into(),
                generation: Generation(1),
                raft_id: RaftId(0),
                members: Vec::new(),
            },
            home: tempfile::tempdir().unwrap(),
        };
        for id in 1..=size {
            cluster.add(id);
        }
        cluster.binding.members = cluster
            .members
            .values()
            .map(|member| member.formed.clone())
            .collect();
        cluster
    }

    /// A member with a store of its own, not started, not in the formation's list.
    pub(super) fn add(&mut self, id: u64) {
        let dir = self.home.path().join(format!("n{id}"));
        let store = Store::open(&dir).unwrap();
        let formed = FormedMember {
            name: format!("n{id}").into(),
            raft_id: RaftId(id),
            store_id: store.store_id(),
            address: free_address(),
            witness: false,
        };
        self.members.insert(
            id,
            Member {
                formed,
                dir,
                delay_ms: Arc::default(),
                running: None,
            },
        );
    }

    /// Started and formed, with a leader that all follow.
    pub(super) fn formed(size: u64) -> Self {
        let mut cluster = Self::new(size, Options::default());
        cluster.start_all();
        cluster.initialize(1);
        cluster.wait_for_leader();
        for id in 1..=size {
            cluster.wait_role(id, "caught up", |role| {
                role.i_am_voter && role.is_caught_up()
            });
        }
        cluster
    }

    pub(super) fn start_all(&mut self) {
        let ids: Vec<u64> = self.members.keys().copied().collect();
        for id in ids {
            self.start(id);
        }
    }

    pub(super) fn initialize(&self, id: u64) {
        let members = self.binding.members.clone();
        self.on(id, async move |node| node.initialize(&members).await)
            .unwrap();
    }

    pub(super) fn start(&mut self, id: u64) {
        let binding = Binding {
            raft_id: RaftId(id),
            ..self.binding.clone()
        };
        let (options, cuts) = (self.options.clone(), self.cuts.clone());
        let member = self.members.get_mut(&id).unwrap();
        assert!(member.running.is_none());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (dir, address) = (member.dir.clone(), member.formed.address.clone());
        let delay_ms = member.delay_ms.clone();
        let node = runtime.block_on(async move {
            let slow = |disk| Box::new(Slow { disk, delay_ms }) as Box<dyn Disk>;
            let store = Store::open_with(&dir, slow).unwrap();
            // A recovered one is bound to a later generation.
            if store.binding().is_none() {
                store.bind(binding).await.unwrap();
            }
            let service = RaftService::new();
            let wire = Wire {
                service: service.clone(),
                cuts,
            };
            serve(&address, wire);
            RaftNode::start(store, options, &service).await.unwrap()
        });
        member.running = Some(Running {
            node: Arc::new(node),
            runtime,
        });
    }

    /// Ends a member like a killed process: its sockets close, nothing is said.
    pub(super) fn kill(&mut self, id: u64) {
        let running = self.members.get_mut(&id).unwrap().running.take().unwrap();
        running.runtime.shutdown_timeout(Duration::from_secs(5));
        drop(running.node);
    }

    pub(super) fn node(&self, id: u64) -> &Arc<RaftNode> {
        &self.members[&id].running.as_ref().unwrap().node
    }

    pub(super) fn running(&self) -> Vec<u64> {
        let running = self
            .members
            .iter()
            .filter(|(_, member)| member.running.is_some());
        running.map(|(&id, _)| id).collect()
    }

    /// Runs something on a member's own runtime.
    pub(super) fn on<T: Send + 'static, F: Future<Output = T> + Send>(
        &self,
        id: u64,
        work: impl FnOnce(Arc<RaftNode>) -> F,
    ) -> T {
        let running = self.members[&id].running.as_ref().unwrap();
        running.runtime.block_on(work(running.node.clone()))
    }

    pub(super) fn role(&self, id: u64) -> RoleView {
        self.node(id).role().borrow().clone()
    }

    /// Waits until a running member's role fulfils a condition.
    pub(super) fn wait_role(
        &self,
        id: u64,
        what: &str,
        wanted: impl Fn(&RoleView) -> bool + Send,
    ) -> RoleView {
        self.on(id, async move |node| {
            let mut role = node.role();
            let waited = tokio::time::timeout(PATIENCE, role.wait_for(wanted)).await;
            match waited {
                Ok(seen) => seen.unwrap().clone(),
                Err(_) => panic!("n{id} never: {what}; it is {:#?}", node.role().borrow()),
            }
        })
    }

    /// The leader that a majority's running members agree on.
    pub(super) fn wait_for_leader(&self) -> u64 {
        self.wait_for_other_leader(0)
    }

    /// The same, once it is not `old` any more.
    pub(super) fn wait_for_other_leader(&self, old: u64) -> u64 {
        let end = Instant::now() + PATIENCE;
        loop {
            let leads = |&id: &u64| {
                let role = self.role(id);
                role.is_leader && role.quorum_fresh && id != old
            };
            if let Some(id) = self.running().into_iter().find(leads) {
                return id;
            }
            assert!(
                Instant::now() < end,
                "no leader: {:#?}",
                self.running()
                    .iter()
                    .map(|&id| self.role(id))
                    .collect::<Vec<_>>()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// A command that changes nothing but the log.
    pub(super) fn propose(&self, id: u64) -> Result<Applied, ProposeError> {
        self.on(id, async |node| {
            node.propose(command("x"), Duration::from_secs(5)).await
        })
    }

    /// The group commits: a busy machine may change the leader once more before it does.
    pub(super) fn commits(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let outcomes: Vec<_> = self
                .running()
                .into_iter()
                .map(|id| self.propose(id))
                .collect();
            if outcomes.iter().any(Result::is_ok) {
                return;
            }
            assert!(Instant::now() < deadline, "{outcomes:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until a member has applied the entry.
    pub(super) fn wait_applied(&self, id: u64, index: u64) {
        self.wait_role(id, &format!("applied {index}"), |role| {
            role.applied >= index
        });
    }

    pub(super) fn cut(&self, from: u64, to: u64) {
        self.cuts.lock().unwrap().insert((from, to));
    }

    /// Cuts a member off from everybody, both ways.
    pub(super) fn isolate(&self, id: u64) {
        for &other in self.members.keys() {
            self.cut(id, other);
            self.cut(other, id);
        }
    }

    pub(super) fn heal(&self) {
        self.cuts.lock().unwrap().clear();
    }

    /// Checks over a time that leader and term stay.
    pub(super) fn assert_stays(&self, leader: u64, term: u64, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            for id in self.running() {
                let role = self.role(id);
                assert_eq!(role.term, term, "n{id} left the term: {role:#?}");
            }
            let role = self.role(leader);
            assert!(role.is_leader, "n{leader} lost the lead: {role:#?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for id in self.running() {
            self.kill(id);
        }
    }
}

pub(super) fn serve(address: &str, wire: impl Raft) {
    let listener = TcpListener::bind(address).unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let router = tonic::transport::Server::builder()
        .tcp_nodelay(true)
        .add_service(RaftServer::new(wire));
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
}

/// Refused by the state, which is an outcome too; `text` makes it as long as wanted.
pub(super) fn command(text: &str) -> Command {
    Command::SetSettings {
        expected_version: u64::MAX,
        set: BTreeMap::from([("pgha.test".to_owned(), text.to_owned())]),
        unset: Vec::new(),
    }
}
