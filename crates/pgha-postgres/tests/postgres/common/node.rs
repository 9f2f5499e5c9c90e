//! One member's PostgreSQL.

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgha_core::{Epoch, Secret};
use pgha_postgres::config::{
    HbaOptions, ManagedSettings, Passfile, StartOptions, StartRole, Upstream, install,
    postgres_command, write_authentication,
};
use pgha_postgres::job::{CloneOptions, RewindOptions};
use pgha_postgres::{
    Displace, Layout, Session, SessionError, SessionOptions, effective_user_name, initdb,
    prepare_primary, prepare_standby,
};
use tokio::time::Instant;
use tokio_postgres::{Client, NoTls};

use super::{LIMIT, PASSWORD, REPLICATION, initdb_options, installation};

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// A member's PostgreSQL, without a guard.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) layout: Layout,
    pub(crate) port: u16,
    pub(crate) settings: ManagedSettings,
    pub(crate) process: Option<Child>,
    root: tempfile::TempDir,
}

impl Node {
    pub(crate) fn new(name: &str) -> Self {
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

    pub(crate) fn write_authentication(&self, user_lines: &[&str]) {
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
    pub(crate) async fn primary(name: &str) -> (Self, Session) {
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
    pub(crate) async fn standby(name: &str, source: &Self) -> (Self, Session) {
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

    pub(crate) fn clone_options(&self, port: u16) -> CloneOptions {
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

    pub(crate) fn rewind_options(&self, port: u16) -> RewindOptions {
        RewindOptions {
            host: "127.0.0.1".into(),
            port,
            user: REPLICATION.into(),
            passfile: self.layout.passfile(),
            member: self.name.clone(),
            epoch: Epoch(2),
            unassigned: None,
            stall_limit: LIMIT,
        }
    }

    pub(crate) fn upstream(&self, source: &Self, slot: Option<&str>) -> Upstream {
        Upstream {
            host: "127.0.0.1".into(),
            port: source.port,
            user: REPLICATION.into(),
            application_name: self.name.clone(),
            slot: slot.map(str::to_owned),
            passfile: self.layout.passfile(),
        }
    }

    pub(crate) async fn start_standby(&mut self) -> Session {
        let inspected =
            pgha_postgres::DataDirectory::inspect(&installation(), &self.layout.data_dir).unwrap();
        let pgha_postgres::DataDirectory::Cluster(cluster) = inspected else {
            panic!("{inspected:?}");
        };
        prepare_standby(&self.layout.data_dir).unwrap();
        self.start(StartRole::Standby(cluster.control.floor));
        self.session().await
    }

    pub(crate) fn start(&mut self, role: StartRole) {
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

    pub(crate) fn log(&self) -> PathBuf {
        self.root.path().join("log")
    }

    pub(crate) fn log_text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    pub(crate) fn session_options(&self) -> SessionOptions {
        SessionOptions {
            socket_dir: self.layout.socket_dir.clone(),
            port: self.port,
            superuser: "postgres".into(),
        }
    }

    pub(crate) async fn session(&self) -> Session {
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
    pub(crate) async fn client(&self) -> Client {
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

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.process.as_ref().unwrap().id();
        kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
    }

    /// Ends PostgreSQL: `SIGINT` fast, `SIGQUIT` immediate.
    pub(crate) async fn stop(&mut self, signal: Signal) {
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
