//! A member that answers by script, and the real program run against it.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pgha_proto::v1;
use pgha_proto::v1::admin_server::{Admin, AdminServer};
use pgha_proto::v1::outcome::Kind;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::watch;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status};

/// Longer than any command of these tests may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// What a member does with a change of primary.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Reports these lines and then this outcome.
    Outcome(Vec<&'static str>, Kind, &'static str),
    /// Refuses before it begins.
    Refuses(&'static str),
    /// Reports a line and never comes to an end.
    Hangs,
    /// Reports a line and closes the stream.
    Breaks,
}

/// A member.
#[derive(Clone, Debug)]
pub(crate) struct Fake {
    pub(crate) status: v1::StatusReply,
    pub(crate) history: Vec<v1::HistoryEntry>,
    pub(crate) findings: Vec<v1::Finding>,
    pub(crate) settings: v1::SettingsReply,
    pub(crate) change: Change,
    pub(crate) quorum: v1::QuorumReply,
    /// What questions other than the status are answered with instead.
    pub(crate) unavailable: Option<&'static str>,
    pub(crate) seen: Arc<Mutex<Vec<String>>>,
    /// Replaces the status once it is set.
    pub(crate) later: Arc<Mutex<Option<v1::StatusReply>>>,
    /// How often the status was asked for, which is also the age of the view.
    pub(crate) asked: Arc<watch::Sender<u64>>,
}

impl Fake {
    pub(crate) fn new() -> Self {
        Self {
            status: healthy(),
            history: history(),
            findings: Vec::new(),
            settings: settings(),
            change: Change::Outcome(vec!["holding clients"], Kind::Done, "n2 is primary"),
            quorum: survivor(),
            unavailable: None,
            seen: Arc::default(),
            later: Arc::default(),
            asked: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Serves on a free port until the test ends.
    pub(crate) async fn serve(self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let incoming = TcpListenerStream::new(listener);
        let server = tonic::transport::Server::builder().add_service(AdminServer::new(self));
        tokio::spawn(server.serve_with_incoming(incoming));
        address
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no panic while held").clone()
    }

    fn note(&self, what: String) {
        self.seen.lock().expect("no panic while held").push(what);
    }

    fn available(&self) -> Result<(), Status> {
        self.unavailable
            .map_or(Ok(()), |text| Err(Status::unavailable(text)))
    }

    async fn changed(&self) -> Result<Response<Stream>, Status> {
        let (sender, receiver) = tokio::sync::mpsc::channel(8);
        let line = |text: &str| v1::Progress {
            text: text.to_owned(),
            outcome: None,
        };
        let script = self.change.clone();
        if let Change::Refuses(text) = script {
            return Err(Status::failed_precondition(text));
        }
        tokio::spawn(async move {
            match script {
                Change::Outcome(lines, kind, text) => {
                    for text in lines {
                        let _ = sender.send(Ok(line(text))).await;
                    }
                    let entry = (kind == Kind::Done).then(|| history().remove(1));
                    let outcome = v1::Outcome {
                        kind: kind.into(),
                        text: text.to_owned(),
                        entry,
                    };
                    let last = v1::Progress {
                        text: String::new(),
                        outcome: Some(outcome),
                    };
                    let _ = sender.send(Ok(last)).await;
                }
                Change::Hangs => {
                    let _ = sender.send(Ok(line("waiting"))).await;
                    sender.closed().await;
                }
                Change::Breaks => {
                    let _ = sender.send(Ok(line("waiting"))).await;
                }
                Change::Refuses(_) => {}
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

type Stream = ReceiverStream<Result<v1::Progress, Status>>;

#[tonic::async_trait]
impl Admin for Fake {
    type SwitchoverStream = Stream;
    type FailoverStream = Stream;

    async fn status(
        &self,
        _: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusReply>, Status> {
        let age = *self.asked.borrow();
        self.asked.send_replace(age + 1);
        let later = self.later.lock().expect("no panic while held").clone();
        let mut status = later.unwrap_or_else(|| self.status.clone());
        status.stale_ms += age;
        Ok(Response::new(status))
    }

    async fn history(
        &self,
        _: Request<v1::HistoryRequest>,
    ) -> Result<Response<v1::HistoryReply>, Status> {
        self.available()?;
        Ok(Response::new(v1::HistoryReply {
            entries: self.history.clone(),
        }))
    }

    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainReply>, Status> {
        let epoch = request.into_inner().epoch.unwrap_or(2);
        let entry = self
            .history
            .iter()
            .find(|entry| entry.epoch == epoch)
            .cloned();
        let entry =
            entry.ok_or_else(|| Status::not_found(format!("epoch {epoch} never had a primary")))?;
        let told = ["n1 released epoch 1", "n2 held the lease"];
        let steps = entry.steps.iter();
        let steps = steps.map(|step| format!("{:>6} ms {}", step.ms, step.name));
        let lines = told.map(str::to_owned).into_iter().chain(steps).collect();
        Ok(Response::new(v1::ExplainReply {
            entry: Some(entry),
            lines,
        }))
    }

    async fn doctor(
        &self,
        _: Request<v1::DoctorRequest>,
    ) -> Result<Response<v1::DoctorReply>, Status> {
        Ok(Response::new(v1::DoctorReply {
            findings: self.findings.clone(),
        }))
    }

    async fn settings(
        &self,
        _: Request<v1::SettingsRequest>,
    ) -> Result<Response<v1::SettingsReply>, Status> {
        self.available()?;
        Ok(Response::new(self.settings.clone()))
    }

    async fn set_settings(
        &self,
        request: Request<v1::SetSettingsRequest>,
    ) -> Result<Response<v1::SettingsReply>, Status> {
        let request = request.into_inner();
        self.note(format!(
            "{:?} {:?} {:?}",
            request.values, request.unset, request.expected_version
        ));
        if request.values.contains_key("leese_ms") {
            return Err(Status::invalid_argument(
                "leese_ms = 1 is refused: no such key",
            ));
        }
        if request.no_wait {
            return Ok(Response::new(self.settings.clone()));
        }
        if matches!(self.change, Change::Hangs) {
            std::future::pending::<()>().await;
        }
        let mut after = self.settings.clone();
        after.version += 1;
        after.values.extend(request.values);
        Ok(Response::new(after))
    }

    async fn switchover(
        &self,
        request: Request<v1::SwitchoverRequest>,
    ) -> Result<Response<Stream>, Status> {
        self.note(format!("switchover {:?}", request.into_inner()));
        self.changed().await
    }

    async fn failover(
        &self,
        request: Request<v1::FailoverRequest>,
    ) -> Result<Response<Stream>, Status> {
        self.note(format!("failover {:?}", request.into_inner()));
        self.changed().await
    }

    async fn quorum(
        &self,
        _: Request<v1::QuorumRequest>,
    ) -> Result<Response<v1::QuorumReply>, Status> {
        Ok(Response::new(self.quorum.clone()))
    }

    async fn recover_quorum(
        &self,
        request: Request<v1::RecoverQuorumRequest>,
    ) -> Result<Response<v1::RecoverQuorumReply>, Status> {
        let request = request.into_inner();
        self.note(format!("recover {request:?}"));
        if let Change::Refuses(text) = self.change {
            return Err(Status::failed_precondition(text));
        }
        if !matches!(self.change, Change::Hangs) {
            let mut later = self.status.clone();
            later.generation = request.generation + 1;
            later.primary = Some(request.survivor);
            *self.later.lock().expect("no panic while held") = Some(later);
        }
        Ok(Response::new(v1::RecoverQuorumReply {
            generation: request.generation + 1,
            epoch: 4,
        }))
    }
}

/// The program with these arguments, its input closed.
pub(crate) fn ctl(endpoints: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgha-ctl"));
    command.args(["--endpoint", endpoints]).args(arguments);
    command.env_remove("PGHA_ENDPOINTS").env_remove("VISUAL");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs it to its end.
pub(crate) async fn run(endpoints: &str, arguments: &[&str]) -> Ended {
    ended(ctl(endpoints, arguments)).await
}

/// Runs a command that may have been prepared further.
pub(crate) async fn ended(mut command: Command) -> Ended {
    let output = tokio::time::timeout(DEADLINE, command.output()).await;
    Ended::from(output.expect("ends in time").expect("can be started"))
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("not killed"),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }
}

fn names() -> Vec<String> {
    ["n1", "n2", "n3"].map(str::to_owned).to_vec()
}

/// Three members, n2 primary, n3 a witness.
pub(crate) fn healthy() -> v1::StatusReply {
    v1::StatusReply {
        cluster: "main".into(),
        cluster_id: Some("c-1".into()),
        generation: 1,
        quorum: true,
        stale_ms: 0,
        system_identifier: Some(7_501_234_567_890_123_457),
        epoch: Some(3),
        timeline: Some(3),
        primary: Some("n2".into()),
        paused: false,
        raft: Some(v1::RaftStatus {
            leader: Some("n1".into()),
            term: 5,
            voters: names(),
            learners: Vec::new(),
        }),
        sync: Some(v1::SyncStatus {
            mode: "async".into(),
            standbys: Vec::new(),
        }),
        members: vec![
            member(1, "replica", "streaming", Some(0x0500_0148)),
            member(2, "primary", "running", Some(0x0500_0148)),
            member(3, "witness", "running", None),
        ],
        reason: None,
        detail: None,
        answered_by: "n1".into(),
    }
}

fn member(number: u16, role: &str, state: &str, lsn: Option<u64>) -> v1::MemberStatus {
    let data = role != "witness";
    let address = |base: u16| format!("127.0.0.1:{}", base + number);
    v1::MemberStatus {
        name: format!("n{number}"),
        kind: if data { "data" } else { "witness" }.into(),
        role: role.into(),
        state: state.into(),
        reason: None,
        timeline: data.then_some(3),
        received_lsn: lsn,
        replayed_lsn: lsn,
        lag_bytes: data.then_some(0),
        addresses: Some(v1::Addresses {
            raft: address(7400),
            postgres: if data { address(5500) } else { String::new() },
            http: address(8100),
            proxy_read_write: address(6500),
            proxy_read_only: address(6600),
        }),
        tags: BTreeMap::new(),
        detail: None,
    }
}

/// The same cluster seen from a member that has lost the others.
pub(crate) fn without_quorum() -> v1::StatusReply {
    let mut status = healthy();
    status.quorum = false;
    status.stale_ms = 4200;
    status.primary = None;
    status.raft.as_mut().expect("there").leader = None;
    status.reason = Some("no_quorum".into());
    status.members[0].state = "fenced".into();
    status.members[0].reason = Some("no_quorum".into());
    status.members[1].role = "none".into();
    status.members[1].state = "unreachable".into();
    status.members[1].reason = Some("unreachable".into());
    status.members[1].detail = Some("last heard from 4.2 s ago".into());
    status
}

/// What n1 of that cluster has.
pub(crate) fn survivor() -> v1::QuorumReply {
    let member = |name: &str, kind: &str, answer: Option<&str>| v1::QuorumMember {
        name: name.into(),
        kind: kind.into(),
        votes: true,
        address: format!("10.0.0.{}:7400", &name[1..]),
        answer: answer.map(str::to_owned),
    };
    v1::QuorumReply {
        cluster: "main".into(),
        cluster_id: "c-1".into(),
        generation: 1,
        name: "n1".into(),
        quorum: false,
        leader: None,
        epoch: 3,
        adopted_epoch: 3,
        last_primary: Some("n2".into()),
        primary_flush_lsn: Some(0x0500_2148),
        timeline: Some(3),
        end_of_wal: Some(0x0500_0148),
        left_line_at: None,
        stale_ms: 95_400,
        last_index: 21,
        committed_index: 20,
        members: vec![
            member("n1", "data", Some("this member")),
            member("n2", "data", None),
            member("n3", "witness", None),
        ],
        obstacle: None,
        state: "replica fenced".into(),
    }
}

/// A start, and a failover that lost a little.
pub(crate) fn history() -> Vec<v1::HistoryEntry> {
    let first = v1::HistoryEntry {
        epoch: 1,
        timeline: 1,
        primary: "n1".into(),
        cause: "formation".into(),
        at: "2026-11-21T03:00:00Z".into(),
        ..Default::default()
    };
    let step = |name: &str, ms| v1::Step {
        name: name.into(),
        ms,
    };
    let second = v1::HistoryEntry {
        epoch: 2,
        timeline: 2,
        primary: "n2".into(),
        previous_primary: Some("n1".into()),
        cause: "lease_expired".into(),
        at: "2026-11-21T03:10:00Z".into(),
        fork_lsn: Some(0x0500_0148),
        lost_from_lsn: Some(0x0500_0148),
        lost_to_lsn: Some(0x0500_0548),
        lost_bytes: Some(1024),
        lost_final: Some(false),
        steps: vec![
            step("revoked", 1500),
            step("chosen", 1600),
            step("opened", 1900),
        ],
    };
    vec![first, second]
}

fn settings() -> v1::SettingsReply {
    let pairs = [
        ("lease_ms", "1500"),
        ("max_lag_on_failover", "16MiB"),
        ("proxy.hold_ms", "5000"),
    ];
    v1::SettingsReply {
        version: 4,
        values: pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        changed: vec!["proxy.hold_ms".into()],
        restart_pending: vec!["shared_buffers".into()],
    }
}
