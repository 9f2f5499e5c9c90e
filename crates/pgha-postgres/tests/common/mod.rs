//! Real PostgreSQL servers for tests: one temporary directory each, free ports, loopback only, and
//! nothing left running.

#![allow(dead_code, missing_docs, unreachable_pub)]

use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use pgha_core::{Epoch, Secret};
use pgha_postgres::config::{
    HbaOptions, ManagedSettings, ParameterTrust, Passfile, StartOptions, StartRole, Upstream,
    UserParameters, install, postgres_command, write_authentication,
};
use pgha_postgres::job::{CloneOptions, RewindOptions};
use pgha_postgres::{
    Displace, InitdbOptions, Installation, Layout, Probe, Session, SessionError, SessionOptions,
    effective_user_name, initdb, prepare_primary, prepare_standby,
};
use tokio::time::Instant;
use tokio_postgres::{Client, NoTls};

pub const LIMIT: Duration = Duration::from_secs(20);
pub const REPLICATION: &str = "pgha_replication";
pub const PASSWORD: &str = "se:cr\\et '\"";

/// Runs a test, as the user `postgres` where the caller is root: PostgreSQL refuses root.
pub fn run(test: &str, body: impl Future<Output = ()>) {
    if Uid::effective().is_root() {
        let status = Command::new("setpriv")
            .args([
                "--reuid",
                "postgres",
                "--regid",
                "postgres",
                "--init-groups",
                "--",
            ])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .status()
            .unwrap();
        assert!(status.success(), "{test} failed as user postgres");
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        tokio::time::timeout(Duration::from_secs(150), body)
            .await
            .expect("the test took too long");
    });
}

/// Where the temporary directories of `run_on_small_disk` may lie.
pub const SMALL_DISK: &str = "PGHA_TEST_SMALL_DISK";

/// As `run`, with a file system of 8 MB at `$PGHA_TEST_SMALL_DISK`, in a mount namespace of its
/// own. Only root can make one.
pub fn run_on_small_disk(test: &str, body: impl Future<Output = ()>) {
    if std::env::var_os(SMALL_DISK).is_some() {
        return run(test, body);
    }
    if !Uid::effective().is_root() {
        eprintln!("{test}: not run, only root can mount a small disk");
        return;
    }
    let disk = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=8m,mode=1777 tmpfs \"$1\" && shift && exec \"$@\"";
    let status = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(disk.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(SMALL_DISK, disk.path())
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed on a small disk");
}

pub fn installation() -> Installation {
    Installation::find(None).unwrap()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// A member's PostgreSQL, without a guard.
pub struct Node {
    pub name: String,
    pub layout: Layout,
    pub port: u16,
    pub settings: ManagedSettings,
    pub process: Option<Child>,
    root: tempfile::TempDir,
}

impl Node {
    pub fn new(name: &str) -> Self {
        let root = tempfile::Builder::new()
            .prefix("pgha-test-")
            .tempdir()
            .unwrap();
        let at = |part: &str| root.path().join(part);
        let layout = Layout {
            data_dir: at("postgres"),
            run_dir: at("run"),
            conf_dir: at("conf"),
            socket_dir: at("run"),
        };
        std::fs::create_dir_all(&layout.run_dir).unwrap();
        let node = Self {
            name: name.to_owned(),
            layout,
            port: free_port(),
            settings: ManagedSettings::default(),
            process: None,
            root,
        };
        node.write_authentication(&[]);
        let password = Secret::new(PASSWORD.to_owned());
        Passfile {
            user: REPLICATION,
            password: &password,
        }
        .write(&node.layout.passfile())
        .unwrap();
        node
    }

    pub fn write_authentication(&self, user_lines: &[&str]) {
        let options = HbaOptions {
            system_user: effective_user_name().unwrap(),
            superuser: "postgres".into(),
            replication_user: REPLICATION.into(),
            members: vec!["127.0.0.1".parse().unwrap()],
            direct: false,
            user_lines: user_lines.iter().map(|line| (*line).to_owned()).collect(),
        };
        write_authentication(&self.layout, &options).unwrap();
    }

    /// A new cluster with the replication role, started as a primary.
    pub async fn primary(name: &str) -> (Self, Session) {
        let mut node = Self::new(name);
        initdb(&installation(), &node.layout, &initdb_options())
            .await
            .unwrap();
        prepare_primary(&node.layout.data_dir).unwrap();
        node.start(StartRole::Primary);
        let session = node.session().await;
        let password = Secret::new(PASSWORD.to_owned());
        session
            .ensure_replication_role(REPLICATION, &password, LIMIT)
            .await
            .unwrap();
        (node, session)
    }

    /// A copy of `source` that follows it.
    pub async fn standby(name: &str, source: &Self) -> (Self, Session) {
        let mut node = Self::new(name);
        let mut job = pgha_postgres::job::clone(
            installation(),
            node.layout.clone(),
            node.clone_options(source.port),
        );
        job.wait().await.unwrap();
        node.settings.upstream = Some(node.upstream(source, None));
        let session = node.start_standby().await;
        (node, session)
    }

    pub fn clone_options(&self, port: u16) -> CloneOptions {
        CloneOptions {
            host: "127.0.0.1".into(),
            port,
            user: REPLICATION.into(),
            passfile: self.layout.passfile(),
            member: self.name.clone(),
            epoch: Epoch(1),
            stall_limit: LIMIT,
            displace: Displace::Keep(1),
        }
    }

    pub fn rewind_options(&self, port: u16) -> RewindOptions {
        RewindOptions {
            host: "127.0.0.1".into(),
            port,
            user: REPLICATION.into(),
            passfile: self.layout.passfile(),
            member: self.name.clone(),
            epoch: Epoch(2),
            stall_limit: LIMIT,
        }
    }

    pub fn upstream(&self, source: &Self, slot: Option<&str>) -> Upstream {
        Upstream {
            host: "127.0.0.1".into(),
            port: source.port,
            user: REPLICATION.into(),
            application_name: self.name.clone(),
            slot: slot.map(str::to_owned),
            passfile: self.layout.passfile(),
        }
    }

    pub async fn start_standby(&mut self) -> Session {
        let inspected =
            pgha_postgres::DataDirectory::inspect(&installation(), &self.layout.data_dir).unwrap();
        let pgha_postgres::DataDirectory::Cluster(cluster) = inspected else {
            panic!("{inspected:?}");
        };
        prepare_standby(&self.layout.data_dir).unwrap();
        self.start(StartRole::Standby(cluster.control.floor));
        self.session().await
    }

    pub fn start(&mut self, role: StartRole) {
        install(&self.layout.data_dir, &self.settings).unwrap();
        let options = StartOptions {
            listen_addresses: "127.0.0.1".into(),
            port: self.port,
            cluster_name: self.name.clone(),
            role,
            parameters: self.settings.parameters.clone(),
        };
        let command = postgres_command(&installation(), &self.layout, &options).unwrap();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .unwrap();
        let mut spawn = Command::new(&command.program);
        spawn
            .args(&command.args)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        for name in &command.env_remove {
            spawn.env_remove(name);
        }
        self.process = Some(spawn.spawn().unwrap());
    }

    pub fn log(&self) -> PathBuf {
        self.root.path().join("log")
    }

    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    pub fn session_options(&self) -> SessionOptions {
        SessionOptions {
            socket_dir: self.layout.socket_dir.clone(),
            port: self.port,
            superuser: "postgres".into(),
        }
    }

    pub async fn session(&self) -> Session {
        let deadline = Instant::now() + LIMIT;
        loop {
            match Session::connect(&self.session_options(), LIMIT).await {
                Ok(session) => return session,
                Err(SessionError::Refused(_) | SessionError::Starting(_))
                    if Instant::now() < deadline =>
                {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(error) => panic!("{}: {error}\n{}", self.name, self.log_text()),
            }
        }
    }

    /// An ordinary client, over the socket.
    pub async fn client(&self) -> Client {
        let (client, connection) = tokio_postgres::Config::new()
            .host_path(&self.layout.socket_dir)
            .port(self.port)
            .user("postgres")
            .dbname("postgres")
            .connect(NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.process.as_ref().unwrap().id();
        kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
    }

    /// Ends PostgreSQL: `SIGINT` fast, `SIGQUIT` immediate.
    pub async fn stop(&mut self, signal: Signal) {
        self.signal(signal);
        let mut process = self.process.take().unwrap();
        let deadline = Instant::now() + LIMIT;
        while process.try_wait().unwrap().is_none() {
            assert!(
                Instant::now() < deadline,
                "{} did not stop\n{}",
                self.name,
                self.log_text()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of {}:\n{}", self.name, self.log_text());
        }
        let Some(mut process) = self.process.take() else {
            return;
        };
        let pid = Pid::from_raw(i32::try_from(process.id()).unwrap());
        for signal in [Signal::SIGCONT, Signal::SIGQUIT] {
            let _ = kill(pid, signal);
        }
        for _ in 0..600 {
            if process.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = process.kill();
        let _ = process.wait();
    }
}

pub fn initdb_options() -> InitdbOptions {
    InitdbOptions {
        superuser: "postgres".into(),
        password: Secret::new(PASSWORD.to_owned()),
        locale: "C.UTF-8".into(),
        epoch: Epoch(1),
        stall_limit: LIMIT,
    }
}

pub fn parameters(pairs: &[(&str, &str)]) -> UserParameters {
    let map: BTreeMap<_, _> = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    UserParameters::parse(&map, ParameterTrust::MayRunCode).unwrap()
}

/// Probes until `done`.
pub async fn until(
    node: &Node,
    session: &mut Session,
    what: &str,
    done: impl Fn(&Probe) -> bool,
) -> Probe {
    let deadline = Instant::now() + LIMIT;
    loop {
        let probe = session.probe(LIMIT).await.unwrap();
        if done(&probe) {
            return probe;
        }
        assert!(
            Instant::now() < deadline,
            "{}: no {what}: {probe:#?}\n{}",
            node.name,
            node.log_text()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until the standby has replayed all that the primary has now.
pub async fn caught_up(primary: &Session, standby: &Node, session: &mut Session) -> Probe {
    let end = primary.flush_lsn(LIMIT).await.unwrap();
    until(standby, session, "replay up to the primary", |probe| {
        probe.replay >= Some(end)
    })
    .await
}

pub async fn count(client: &Client, table: &str) -> i64 {
    client
        .query_one(&format!("SELECT count(*) FROM {table}"), &[])
        .await
        .unwrap()
        .get(0)
}
