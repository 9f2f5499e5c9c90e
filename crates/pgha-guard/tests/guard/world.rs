//! A directory, a sidecar in it, and what the test says and hears.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::SystemTime;

use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};
use pgha_core::{Epoch, Generation, Mono};
use pgha_guard::{
    EmptyReport, Event, GuardLock, Order, Peer, PostmasterSignal, Refusal, ReleaseNote,
    ReleaseRoute, Secret, Start, StartRole, clock,
};

use crate::proc::{self, PATIENCE, await_that};
use crate::protocol::{Said, Wish};

/// Directories of one test, owned by the user who runs PostgreSQL.
pub(crate) struct World {
    dir: tempfile::TempDir,
    user: Option<User>,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("pgha-guard.")
            .tempdir_in("/tmp");
        let dir = dir.expect("a directory");
        // PostgreSQL refuses to run as root, and so does pgha.
        let user = geteuid().is_root().then(|| {
            User::from_name("postgres")
                .expect("users")
                .expect("a user postgres to run as")
        });
        let world = Self { dir, user };
        fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o700)).expect("ours");
        world.own(world.dir.path());
        for dir in [world.run_dir(), world.data_dir()] {
            fs::create_dir(&dir).expect("made");
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).expect("ours");
            world.own(&dir);
        }
        // Not by this process: a program that a fork of it has open for writing cannot be run.
        let copied = Command::new("cp")
            .arg(example())
            .arg(world.program())
            .status();
        assert!(copied.expect("cp").success());
        world
    }

    fn own(&self, path: &Path) {
        if let Some(user) = &self.user {
            chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("root may");
        }
    }

    /// An empty file of PostgreSQL's user.
    pub(crate) fn write(&self, name: &str) {
        fs::write(self.path(name), "").expect("written");
        self.own(&self.path(name));
    }

    fn program(&self) -> PathBuf {
        self.dir.path().join("pgha-guard-test")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.path("run")
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.path("postgres")
    }

    pub(crate) fn lock_path(&self) -> PathBuf {
        pgha_guard::lock_path_beside(&self.data_dir())
    }

    /// A command run as PostgreSQL's user.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
            .current_dir("/")
            .env("PGHA_TEST_RELEASE", self.path("released.json"));
        command
    }

    /// Starts a sidecar with a guard that listens.
    pub(crate) fn sidecar(&self) -> Sidecar {
        let mut command = self.command(self.program());
        command
            .arg("sidecar")
            .arg(self.run_dir())
            .arg(self.data_dir());
        let sidecar = Sidecar::start(command);
        sidecar.await_ready()
    }

    /// A tree that runs `script`, in the data directory.
    pub(crate) fn shell(&self, script: &str, role: StartRole) -> Order {
        Order::Start(Start {
            program: "/bin/sh".into(),
            args: vec!["-c".to_owned(), script.to_owned()],
            env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            cwd: self.data_dir(),
            log_path: self.path("log"),
            role,
        })
    }

    /// The note that the release program was given.
    pub(crate) fn await_released(&self) -> ReleaseNote {
        await_that("a release", || self.was_released());
        let note = fs::read(self.path("released.json")).expect("written");
        serde_json::from_slice(&note).expect("a note")
    }

    pub(crate) fn was_released(&self) -> bool {
        self.path("released.json").exists()
    }

    pub(crate) fn hold_lock(&self) -> GuardLock {
        self.write("postgres.guard.lock");
        GuardLock::try_take(&self.lock_path()).expect("free")
    }

    pub(crate) fn living(&self) -> Vec<u32> {
        proc::living_in(&self.data_dir()).into_keys().collect()
    }
}

/// Cargo builds the examples with all tests, in a directory beside theirs, but not with `--test`.
fn example() -> PathBuf {
    let test = std::env::current_exe().expect("a program");
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("target/PROFILE/deps");
    let example = profile.join("examples/pgha-guard-test");
    let built = |path: &Path| fs::metadata(path).and_then(|file| file.modified());
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    let newest = newest_below(&sources.join("src")).max(newest_below(&sources.join("examples")));
    assert!(
        built(&example).is_ok_and(|built| Some(built) > newest),
        "{} is not up to date: cargo build -p pgha-guard --examples",
        example.display()
    );
    example
}

fn newest_below(dir: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(dir).expect("sources").flatten();
    let times = entries.filter_map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => newest_below(&entry.path()),
        Ok(_) | Err(_) => entry.metadata().and_then(|file| file.modified()).ok(),
    });
    times.max()
}

pub(crate) fn secret(epoch: u64) -> Secret {
    Secret::new([u8::try_from(epoch).expect("small"); 32])
}

pub(crate) fn route() -> ReleaseRoute {
    let peer = |name: &str, address: &str| Peer {
        name: name.into(),
        address: address.to_owned(),
    };
    ReleaseRoute {
        cluster_id: "c-1".into(),
        generation: Generation(2),
        holder: "n1".into(),
        peers: vec![peer("n2", "127.0.0.1:7402"), peer("n3", "127.0.0.1:7403")],
    }
}

pub(crate) fn primary(epoch: u64) -> StartRole {
    StartRole::Primary {
        epoch: Epoch(epoch),
        secret: secret(epoch),
        route: route(),
    }
}

pub(crate) fn standby(epoch: u64) -> StartRole {
    StartRole::Standby {
        epoch: Epoch(epoch),
    }
}

pub(crate) struct Sidecar {
    process: Child,
    stdin: Option<ChildStdin>,
    inbox: Receiver<Said>,
    pub(crate) guard: u32,
    pub(crate) memory_lock: Result<(), String>,
}

impl Sidecar {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("a sidecar");
        let stdin = process.stdin.take();
        let stdout = process.stdout.take().expect("piped");
        let (outbox, inbox) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let said = serde_json::from_str(&line).expect("a word of the protocol");
                if outbox.send(said).is_err() {
                    return;
                }
            }
        });
        Self {
            process,
            stdin,
            inbox,
            guard: 0,
            memory_lock: Ok(()),
        }
    }

    pub(crate) fn await_ready(mut self) -> Self {
        self.guard = self.hear("a guard", |said| match said {
            Said::Guard { pid } => Some(pid),
            _ => None,
        });
        self.memory_lock = self.event("Ready", |event| match event {
            Event::Ready { memory_lock, .. } => Some(memory_lock),
            _ => None,
        });
        self
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn wish(&mut self, wish: &Wish) {
        let mut line = serde_json::to_vec(wish).expect("serializable");
        line.push(b'\n');
        let stdin = self.stdin.as_mut().expect("a sidecar that listens");
        stdin.write_all(&line).expect("a sidecar that listens");
    }

    pub(crate) fn order(&mut self, order: Order) {
        self.wish(&Wish::Order(Box::new(order)));
    }

    pub(crate) fn signal_postmaster(&mut self, epoch: u64, signal: PostmasterSignal) {
        let epoch = Epoch(epoch);
        self.order(Order::Signal { epoch, signal });
    }

    /// The first thing heard that `pick` takes.
    pub(crate) fn hear<T>(&self, what: &str, mut pick: impl FnMut(Said) -> Option<T>) -> T {
        let deadline = clock::now() + PATIENCE;
        let mut others = Vec::new();
        loop {
            let left = deadline.since(clock::now());
            match self.inbox.recv_timeout(left) {
                Ok(said) => {
                    others.push(format!("{said:?}"));
                    if let Some(picked) = pick(said) {
                        return picked;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no {what}, but {others:?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("no {what}: gone after {others:?}"),
            }
        }
    }

    pub(crate) fn event<T>(&self, what: &str, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        self.hear(what, |said| match said {
            Said::Event(event) => pick(event),
            Said::Failed(words) => panic!("no {what}: {words}"),
            _ => None,
        })
    }

    pub(crate) fn await_started(&self) -> u32 {
        self.event("Started", |event| match event {
            Event::Started { pid, .. } => Some(pid),
            Event::Refused { order, why } => panic!("{order} was refused: {why}"),
            _ => None,
        })
    }

    pub(crate) fn await_empty(&self) -> EmptyReport {
        self.event("Empty", |event| match event {
            Event::Empty(report) => Some(report),
            _ => None,
        })
    }

    pub(crate) fn await_refusal(&self) -> Refusal {
        self.event("Refused", |event| match event {
            Event::Refused { why, .. } => Some(why),
            _ => None,
        })
    }

    pub(crate) fn await_gone(&self) -> String {
        self.event("GuardGone", |event| match event {
            Event::GuardGone { status } => Some(status),
            _ => None,
        })
    }

    pub(crate) fn await_emptied(&self) -> usize {
        self.hear("Emptied", |said| match said {
            Said::Emptied { killed, took_us } => {
                println!("killed {killed} leftovers in {took_us} us");
                Some(killed)
            }
            Said::Failed(words) => panic!("not emptied: {words}"),
            _ => None,
        })
    }

    /// Keeps the deadline this far away, for as long as the sidecar runs.
    pub(crate) fn renew(&mut self, epoch: u64, for_ms: u64) -> Mono {
        let epoch = Epoch(epoch);
        self.wish(&Wish::Renew { epoch, for_ms });
        self.await_set()
    }

    pub(crate) fn set_deadline(&mut self, epoch: u64, in_ms: u64) -> Mono {
        let epoch = Epoch(epoch);
        self.wish(&Wish::Deadline { epoch, in_ms });
        self.await_set()
    }

    fn await_set(&self) -> Mono {
        self.hear("a deadline", |said| match said {
            Said::Set { kill_at } => Some(kill_at),
            _ => None,
        })
    }

    pub(crate) fn kill(&mut self) {
        proc::signal(self.pid(), Signal::SIGKILL);
        self.process.wait().expect("our child");
    }

    /// Lets the guard go, as a sidecar does that has stopped its PostgreSQL.
    pub(crate) fn quit(mut self) {
        self.order(Order::Quit);
        let status = self.await_gone();
        assert_eq!(status, "exit status: 0");
    }
}

impl Drop for Sidecar {
    /// Leaves nothing behind, also after a failed assertion.
    fn drop(&mut self) {
        for pid in [self.pid(), self.guard] {
            if proc::state(pid).is_some_and(|(_, name)| name.starts_with("pgha-guard")) {
                proc::signal(pid, Signal::SIGKILL);
            }
        }
        let _ = self.process.wait();
    }
}
