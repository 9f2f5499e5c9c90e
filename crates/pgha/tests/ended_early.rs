//! A request to end that comes while the guard of an earlier sidecar still stops its PostgreSQL.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use pgha_postgres::PROGRAMS;

/// Whatever takes longer is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// A directory of the user who runs the sidecar: root may not.
struct World {
    dir: tempfile::TempDir,
    user: Option<User>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("pgha-early.")
            .tempdir_in("/tmp");
        let dir = dir.expect("a directory");
        let user = geteuid().is_root().then(|| {
            let user = User::from_name("postgres").expect("users");
            user.expect("a user postgres to run as")
        });
        let world = Self { dir, user };
        for path in ["", "data", "data/run"] {
            let path = world.dir.path().join(path);
            fs::create_dir_all(&path).expect("made");
            world.own(&path, 0o700);
        }
        for name in PROGRAMS {
            let path = world.dir.path().join(name);
            fs::write(&path, "#!/bin/sh\necho 'postgres (PostgreSQL) 16.4'\n").expect("written");
            world.own(&path, 0o755);
        }
        // Where it was built is perhaps out of that user's reach.
        let program = world.dir.path().join("pgha");
        let copy = Command::new("cp")
            .arg(env!("CARGO_BIN_EXE_pgha"))
            .arg(&program)
            .status();
        assert!(copy.expect("cp").success());
        world.own(&program, 0o755);
        world
    }

    fn own(&self, path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("ours");
        if let Some(user) = &self.user {
            chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("root may");
        }
    }

    fn sidecar(&self) -> Child {
        let mut command = Command::new(self.dir.path().join("pgha"));
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command.args(["run", "--name", "n1", "--log-level", "info", "--data-dir"]);
        command.arg(self.dir.path().join("data"));
        command.arg("--pg-bin-dir").arg(self.dir.path());
        let flags = [
            "--listen",
            "--http-listen",
            "--proxy-rw",
            "--proxy-ro",
            "--pg-listen",
        ];
        // All at once, so that no two get the same one.
        let taken = flags.map(|_| free_port());
        for (flag, port) in flags.iter().zip(&taken) {
            let address = port.local_addr().expect("bound").to_string();
            command.args([flag, address.as_str()]);
        }
        command.env_clear().current_dir("/").stderr(Stdio::piped());
        drop(taken);
        command.spawn().expect("started")
    }
}

/// None that the kernel gives to whoever connects meanwhile.
fn free_port() -> TcpListener {
    let mut ports = std::iter::repeat_with(|| rand::random_range(20_000..30_000));
    let free = ports.find_map(|port: u16| TcpListener::bind(("127.0.0.1", port)).ok());
    free.expect("a free port")
}

/// The next sidecar, at the door of the guard.
fn visitor(door: &UnixListener, sidecar: &mut Child) -> UnixStream {
    door.set_nonblocking(true).expect("possible");
    let deadline = Instant::now() + PATIENCE;
    loop {
        match door.accept() {
            Ok((visitor, _)) => {
                visitor.set_nonblocking(false).expect("possible");
                visitor.set_read_timeout(Some(PATIENCE)).expect("possible");
                return visitor;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        if let Some(status) = sidecar.try_wait().expect("ours") {
            let said = std::io::read_to_string(sidecar.stderr.take().expect("piped"));
            panic!("it has not come to the door: {status}: {said:?}");
        }
        assert!(Instant::now() < deadline, "nobody came to the door");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_sidecar_that_is_still_taking_over_ends_in_order() {
    let world = World::new();
    let socket = world.dir.path().join("data/run/guard.sock");
    let door = UnixListener::bind(&socket).expect("bound");
    world.own(&socket, 0o600);
    let mut sidecar = world.sidecar();
    let mut visitor = visitor(&door, &mut sidecar);
    assert!(visitor.read(&mut [0; 256]).expect("asked to leave") > 0);

    let pid = Pid::from_raw(i32::try_from(sidecar.id()).expect("a pid"));
    kill(pid, Signal::SIGTERM).expect("ours");
    let said = sidecar.stderr.take().expect("piped");
    let mut said = BufReader::new(said).lines().map(|line| line.expect("text"));
    let heard = said.any(|line| line.contains("asked to end"));
    // The guard has left.
    drop((visitor, door));
    let rest: Vec<String> = said.collect();
    let status = sidecar.wait().expect("ours");
    assert!(heard && status.code() == Some(0), "{status}: {rest:?}");
    assert!(!rest.iter().any(|line| line.contains("is up")), "{rest:?}");
}
