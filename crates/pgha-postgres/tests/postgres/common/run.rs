//! Running a test as a user, and on a disk, that it can work with.

use std::any::type_name;
use std::process::Command;
use std::time::Duration;

use nix::unistd::Uid;

/// Where the temporary directories of `run_on_small_disk` may lie.
pub(crate) const SMALL_DISK: &str = "PGHA_TEST_SMALL_DISK";

/// Runs a test, as the user `postgres` where the caller is root: PostgreSQL refuses root.
pub(crate) fn run<Body: Future<Output = ()>>(body: Body) {
    if Uid::effective().is_root() {
        let user = ["--reuid", "postgres", "--regid", "postgres"];
        let mut become_user = Command::new("setpriv");
        become_user.args(user).args(["--init-groups", "--"]);
        return run_alone(become_user, test_of::<Body>(), "as user postgres");
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

/// As `run`, with a file system of 8 MB at `$PGHA_TEST_SMALL_DISK`, in a mount namespace of its
/// own. Only root can make one.
pub(crate) fn run_on_small_disk<Body: Future<Output = ()>>(body: Body) {
    if std::env::var_os(SMALL_DISK).is_some() {
        return run(body);
    }
    let test = test_of::<Body>();
    if !Uid::effective().is_root() {
        eprintln!("{test}: not run, only root can mount a small disk");
        return;
    }
    let disk = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=8m,mode=1777 tmpfs \"$1\" && shift && exec \"$@\"";
    let mut mount = Command::new("unshare");
    mount
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(disk.path())
        .env(SMALL_DISK, disk.path());
    run_alone(mount, test, "on a small disk");
}

/// The test that `Body` was written in, as the test harness calls it.
fn test_of<Body>() -> &'static str {
    let (_, within) = type_name::<Body>().split_once("::").unwrap();
    within.trim_end_matches("::{{closure}}")
}

/// Runs this one test again, by a command that takes the rest of its line for a command of its own.
fn run_alone(mut by: Command, test: &str, how: &str) {
    let program = std::env::current_exe().unwrap();
    let listed = Command::new(&program)
        .args(["--exact", test, "--list"])
        .output()
        .unwrap();
    // Of a name that nobody has no test runs, and that passes.
    assert!(listed.stdout.starts_with(test.as_bytes()), "no test {test}");
    let status = by
        .arg(program)
        .args(["--exact", test, "--nocapture"])
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed {how}");
}
