//! A PostgreSQL without pgha: to check the harness itself, and to be found in pgha's way.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::Signal;

use crate::account::Account;
use crate::certificate::Certificate;
use crate::process;
use crate::sql::Target;
use crate::wait;

/// What was killed is gone within this.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// The password of its superuser.
pub const PASSWORD: &str = "plain";

/// A data directory and, once started, its postmaster.
pub struct Plain {
    /// The data directory.
    pub directory: PathBuf,
    /// Where it listens.
    pub port: u16,
    account: Account,
    child: Option<std::process::Child>,
}

/// Names the directory of another version's programs than the distribution's, for pgha and for tests.
pub const BIN_DIR: &str = "PGHA_PG_BIN_DIR";

/// The PostgreSQL that was chosen, or the newest of the distribution, as the packages of Debian and PGDG
/// lay it out.
pub fn binaries() -> anyhow::Result<PathBuf> {
    if let Some(chosen) = std::env::var_os(BIN_DIR) {
        return Ok(chosen.into());
    }
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .context("no PostgreSQL: run deploy/dev/install.sh")?
        .flatten()
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse().ok()?,
                entry.path().join("bin"),
            ))
        })
        .filter(|(_, path)| path.join("initdb").is_file())
        .collect();
    found.sort();
    found
        .pop()
        .map(|(_, path)| path)
        .context("no initdb: run deploy/dev/install.sh")
}

/// Runs one of PostgreSQL's programs as the account.
pub fn program(account: &Account, name: &str, arguments: &[&str]) -> anyhow::Result<Output> {
    let path = binaries()?.join(name);
    let mut command = account.command(&path, None);
    let output = command.args(arguments).current_dir("/").output();
    let output = output.with_context(|| format!("cannot run {}", path.display()))?;
    anyhow::ensure!(
        output.status.success(),
        "{name} {arguments:?} failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output)
}

impl Plain {
    /// Runs `initdb` in `directory`, which need not exist.
    pub fn init(account: &Account, directory: &Path, port: u16) -> anyhow::Result<Self> {
        let password = directory.with_extension("password");
        account.file(&password, PASSWORD.as_bytes(), 0o600)?;
        program(
            account,
            "initdb",
            &[
                "--no-sync",
                "--username=postgres",
                "--auth=scram-sha-256",
                &format!("--pwfile={}", password.display()),
                &format!("--pgdata={}", directory.display()),
            ],
        )?;
        let directory = directory.to_owned();
        Ok(Self {
            directory,
            port,
            account: account.clone(),
            child: None,
        })
    }

    /// Starts it and waits until it answers.
    pub async fn start(&mut self, certificate: Option<&Certificate>) -> anyhow::Result<()> {
        let mut command = self.account.command(binaries()?.join("postgres"), None);
        command.arg("-D").arg(&self.directory).current_dir("/");
        let mut settings = vec![
            ("listen_addresses".to_owned(), "127.0.0.1".to_owned()),
            ("port".to_owned(), self.port.to_string()),
            ("unix_socket_directories".to_owned(), String::new()),
            ("fsync".to_owned(), "off".to_owned()),
        ];
        for (key, value) in certificate
            .iter()
            .flat_map(|certificate| certificate.settings())
        {
            settings.push((key.replace("postgres.parameters.", ""), value));
        }
        for (key, value) in settings {
            command.arg("-c").arg(format!("{key}={value}"));
        }
        let log = std::fs::File::create(self.directory.with_extension("log"))?;
        command.stderr(log.try_clone()?).stdout(log);
        self.child = Some(command.spawn().context("postgres does not start")?);
        let target = self.target();
        wait::until("a plain PostgreSQL", Duration::from_secs(20), || async {
            let one: i32 = target.value("SELECT 1").await?;
            anyhow::ensure!(one == 1);
            Ok(())
        })
        .await
    }

    /// How to reach it.
    pub fn target(&self) -> Target {
        Target {
            address: std::net::SocketAddr::from(([127, 0, 0, 1], self.port)),
            namespace: None,
            password: PASSWORD.to_owned(),
            tls: None,
        }
    }

    /// `kill -9` of its whole tree; what it left in memory is gone when this returns.
    pub fn kill(&mut self) {
        let kill = || {
            let inside = process::inside(&self.directory);
            process::signal_all(&inside, Signal::SIGKILL);
            inside.iter().filter(|process| process.is_running()).count()
        };
        kill();
        if let Some(mut child) = self.child.take() {
            let _ended = child.wait();
        }
        // Whom the postmaster forked while the others were listed holds the shared memory, and with it
        // keeps the next postmaster from starting.
        let until = Instant::now() + GONE_WITHIN;
        while kill() > 0 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.kill();
    }
}
