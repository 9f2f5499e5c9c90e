//! The read-write port before a real PostgreSQL, with the real clients.

mod common;

use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{Rig, soon, until};
use nix::unistd::{Uid, User};
use pgha_core::Epoch;
use tempfile::TempDir;
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

/// A PostgreSQL of its own, ended with the test.
struct Postgres {
    address: SocketAddr,
    process: Child,
    _directory: TempDir,
}

/// `PGHA_PG_BIN_DIR`, or where Debian and `PATH` have it.
fn program(name: &str) -> PathBuf {
    if let Some(directory) = std::env::var_os("PGHA_PG_BIN_DIR") {
        return Path::new(&directory).join(name);
    }
    let debian = Path::new("/usr/lib/postgresql/15/bin").join(name);
    if debian.exists() {
        debian
    } else {
        PathBuf::from(name)
    }
}

/// PostgreSQL refuses to run as root.
fn command(name: &str) -> Command {
    let mut command = Command::new(program(name));
    if Uid::effective().is_root() {
        let user = User::from_name("postgres")
            .unwrap()
            .expect("a user postgres, for root");
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
        .current_dir("/")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

impl Postgres {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        if Uid::effective().is_root() {
            let user = User::from_name("postgres")
                .unwrap()
                .expect("a user postgres, for root");
            nix::unistd::chown(directory.path(), Some(user.uid), Some(user.gid)).unwrap();
        }
        let data = directory.path().join("data");
        let initialised = command("initdb")
            .args(["--auth=trust", "--username=app", "--no-sync", "-D"])
            .arg(&data)
            .status()
            .unwrap();
        assert!(initialised.success());
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let process = command("postgres")
            .arg("-D")
            .arg(&data)
            .args(["-h", "127.0.0.1", "-p", &free.port().to_string(), "-k"])
            .arg(directory.path())
            .args(["-c", "fsync=off"])
            .spawn()
            .unwrap();
        Self {
            address: free,
            process,
            _directory: directory,
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Immediate shutdown: the postmaster ends its children.
        let pid = nix::unistd::Pid::from_raw(self.process.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGQUIT);
        let _ = self.process.wait();
    }
}

fn parameters(port: SocketAddr) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config
        .host("127.0.0.1")
        .port(port.port())
        .user("app")
        .dbname("postgres");
    config
}

async fn connect(port: SocketAddr) -> tokio_postgres::Client {
    let (client, connection) = soon(parameters(port).connect(NoTls)).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn started() -> (Postgres, Rig) {
    let rig = Rig::start();
    let postgres = Postgres::start().await;
    // It is still starting: the first client is held meanwhile and notices nothing.
    rig.serve(1, postgres.address);
    connect(rig.read_write).await;
    (postgres, rig)
}

#[tokio::test(flavor = "multi_thread")]
async fn pgbench_runs_through_the_port() {
    let (_postgres, rig) = started().await;
    let port = rig.read_write.port().to_string();
    let run = |arguments: &'static [&'static str]| {
        let mut pgbench = command("pgbench");
        pgbench.args(["-h", "127.0.0.1", "-U", "app", "-n", "-p", &port]);
        pgbench.args(arguments).arg("postgres");
        async move {
            tokio::task::spawn_blocking(move || pgbench.status().unwrap())
                .await
                .unwrap()
        }
    };
    assert!(soon(run(&["-i", "-q"])).await.success());
    assert!(soon(run(&["-c", "4", "-t", "100"])).await.success());
    assert!(
        soon(run(&["-c", "4", "-t", "100", "-S", "-M", "prepared"]))
            .await
            .success()
    );
    assert!(
        soon(run(&["-c", "2", "-t", "10", "-S", "-C"]))
            .await
            .success()
    );
    let client = connect(rig.read_write).await;
    let row = client
        .query_one("select count(*) from pgbench_history", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 400);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_cancelled_through_the_port() {
    let (_postgres, rig) = started().await;
    let client = connect(rig.read_write).await;
    let cancel = client.cancel_token();
    let sleeping = tokio::spawn(async move { client.batch_execute("select pg_sleep(60)").await });
    let observer = connect(rig.read_write).await;
    let active = "select 1 from pg_stat_activity where query like 'select pg_sleep%'";
    while soon(observer.query(active, &[])).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    soon(cancel.cancel_query(NoTls)).await.unwrap();
    let error = soon(sleeping).await.unwrap().unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_session_loses_no_transaction() {
    let (_postgres, rig) = started().await;
    let mut client = connect(rig.read_write).await;
    client
        .batch_execute("create table t (id int)")
        .await
        .unwrap();
    let idle = connect(rig.read_write).await;
    let transaction = client.transaction().await.unwrap();
    transaction
        .execute("insert into t values ($1)", &[&1])
        .await
        .unwrap();
    assert!(rig.gate.drain_idle(Epoch(1)));
    until("the idle one's end", || idle.is_closed()).await;
    transaction
        .execute("insert into t values ($1)", &[&2])
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    until("the end after the commit", || client.is_closed()).await;
    assert!(rig.gate.resume(Epoch(1)));
    let again = connect(rig.read_write).await;
    let row = again
        .query_one("select count(*) from t", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 2);
    rig.stop().await;
}
