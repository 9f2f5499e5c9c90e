//! A PostgreSQL to guard.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;
use pgha_guard::{Order, Start, StartRole};

use crate::proc::{self, await_that, eventually};
use crate::world::World;

/// What a client does that the end of the postmaster alone does not stop.
const BUSY: &str = "CREATE TABLE counted (n int);
CREATE PROCEDURE busy() LANGUAGE plpgsql AS
  $$ BEGIN LOOP INSERT INTO counted VALUES (1); COMMIT; END LOOP; END $$;";

/// That in `PGHA_PG_BIN_DIR`, or the newest of the host.
fn bin_dir() -> PathBuf {
    if let Some(chosen) = std::env::var_os("PGHA_PG_BIN_DIR") {
        return chosen.into();
    }
    let versions = fs::read_dir("/usr/lib/postgresql").expect("Debian's PostgreSQL packages");
    let dirs = versions.flatten().map(|version| version.path().join("bin"));
    let with_server = dirs.filter(|dir| dir.join("postgres").exists());
    with_server.max().expect("a PostgreSQL server")
}

impl World {
    pub(crate) fn initdb(&self) {
        let mut command = self.command(bin_dir().join("initdb"));
        command.args(["--no-sync", "--auth=trust", "--username=postgres", "-D"]);
        let output = command.arg(self.data_dir()).output().expect("initdb");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    pub(crate) fn postgres(&self, role: StartRole) -> Order {
        if matches!(role, StartRole::Standby { .. }) {
            self.write("postgres/standby.signal");
        }
        let settings = [
            format!("unix_socket_directories={}", self.run_dir().display()),
            "listen_addresses=".to_owned(),
            "restart_after_crash=off".to_owned(),
        ];
        let mut args = vec!["-D".to_owned(), self.data_dir().display().to_string()];
        args.extend(
            settings
                .into_iter()
                .flat_map(|setting| ["-c".to_owned(), setting]),
        );
        Order::Start(Start {
            program: bin_dir().join("postgres"),
            args,
            env: BTreeMap::from([("LC_ALL".to_owned(), "C".to_owned())]),
            cwd: self.data_dir(),
            log_path: self.path("postgres.log"),
            role,
        })
    }

    fn psql(&self, sql: &str) -> Command {
        let mut command = self.command(bin_dir().join("psql"));
        command.args([
            "-XqtA",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-d",
            "postgres",
            "-h",
        ]);
        command.arg(self.run_dir()).arg("-c").arg(sql);
        command.stdin(Stdio::null());
        command
    }

    /// The answer, where there is one.
    pub(crate) fn try_query(&self, sql: &str) -> Option<String> {
        let output = self.psql(sql).output().expect("psql");
        let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(answer)
    }

    pub(crate) fn query(&self, sql: &str) -> String {
        self.try_query(sql).expect("an answer")
    }

    pub(crate) fn await_postgres(&self) {
        let answered = eventually(|| self.try_query("SELECT 1").is_some());
        let log = || fs::read_to_string(self.path("postgres.log")).unwrap_or_default();
        assert!(answered, "PostgreSQL never answered: {}", log());
    }

    /// Starts clients that commit without a pause, and waits until all of them have.
    pub(crate) fn commit_busily(&self, count: usize) -> Clients {
        self.psql(BUSY).status().expect("psql");
        let client = || {
            let mut client = self.psql("CALL busy()");
            client.stderr(Stdio::null()).spawn().expect("psql")
        };
        let clients = Clients((0..count).map(|_| client()).collect());
        let busy = "SELECT count(*) FROM pg_stat_activity
                    WHERE query = 'CALL busy()' AND state = 'active'";
        await_that("busy backends", || self.query(busy) == count.to_string());
        let before: u64 = self
            .query("SELECT count(*) FROM counted")
            .parse()
            .expect("a number");
        await_that("commits", || {
            let now: u64 = self
                .query("SELECT count(*) FROM counted")
                .parse()
                .expect("a number");
            now > before + 10 * count as u64
        });
        clients
    }

    pub(crate) fn busy_backends(&self) -> Vec<u32> {
        let pids = self.query("SELECT pid FROM pg_stat_activity WHERE query = 'CALL busy()'");
        pids.lines()
            .map(|pid| pid.parse().expect("a process id"))
            .collect()
    }

    /// What `pg_controldata` calls the state of the data directory.
    pub(crate) fn cluster_state(&self) -> String {
        let mut command = self.command(bin_dir().join("pg_controldata"));
        let output = command
            .env("LC_ALL", "C")
            .arg(self.data_dir())
            .output()
            .expect("run");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text
            .lines()
            .find(|line| line.starts_with("Database cluster state:"));
        line.expect("listed")
            .rsplit(':')
            .next()
            .expect("a value")
            .trim()
            .to_owned()
    }
}

pub(crate) struct Clients(Vec<Child>);

impl Clients {
    /// That every client was told, by its connection's end.
    pub(crate) fn await_end(&mut self) {
        for client in &mut self.0 {
            await_that("a client's end", || {
                client.try_wait().expect("our child").is_some()
            });
            let status = client.wait().expect("our child");
            assert!(!status.success(), "a busy client never succeeds");
        }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        for client in &mut self.0 {
            if matches!(client.try_wait(), Ok(None)) {
                proc::signal(client.id(), Signal::SIGKILL);
                let _ = client.wait();
            }
        }
    }
}
