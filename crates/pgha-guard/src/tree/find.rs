//! Who belongs to a tree.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use super::{Member, Scope};
use crate::process;

/// A file's identity, whatever path leads to it.
type Inode = (u64, u64);

/// The programs that are PostgreSQL's server. Others whose working directory is the data directory,
/// such as an administrator's shell, are none of our business.
const SERVER_PROGRAMS: [&str; 2] = ["postgres", "postmaster"];

/// What tells a member, looked up once for each look.
struct Marks {
    data_dir: Option<Inode>,
    lock: Option<Inode>,
    descendants: BTreeSet<u32>,
}

impl Marks {
    fn of(scope: &Scope) -> io::Result<Self> {
        let lock = scope.lock_path.as_deref().and_then(inode);
        let mut descendants = BTreeSet::new();
        let mut parents: Vec<u32> = scope.root.into_iter().collect();
        while let Some(parent) = parents.pop() {
            for child in process::children(parent)? {
                if descendants.insert(child) {
                    parents.push(child);
                }
            }
        }
        Ok(Self {
            data_dir: inode(&scope.data_dir),
            lock,
            descendants,
        })
    }

    fn fit(&self, pid: u32) -> bool {
        self.descendants.contains(&pid) || self.serves_from(pid) || self.has_lock_open(pid)
    }

    fn serves_from(&self, pid: u32) -> bool {
        self.data_dir.is_some()
            && inode(Path::new(&format!("/proc/{pid}/cwd"))) == self.data_dir
            && is_server(pid)
    }

    fn has_lock_open(&self, pid: u32) -> bool {
        // A process that cannot be read belongs to another user, and no tree of ours does.
        let (Some(_), Ok(files)) = (self.lock, fs::read_dir(format!("/proc/{pid}/fd"))) else {
            return false;
        };
        files.flatten().any(|file| inode(&file.path()) == self.lock)
    }
}

fn inode(path: &Path) -> Option<Inode> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

fn is_server(pid: u32) -> bool {
    let Ok(program) = fs::read_link(format!("/proc/{pid}/exe")) else {
        return false;
    };
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    // The kernel marks the program of an upgrade that replaced the file below a running server.
    let name = name.strip_suffix(" (deleted)").unwrap_or(&name);
    SERVER_PROGRAMS.contains(&name)
}

pub(super) fn members(scope: &Scope) -> io::Result<Vec<Member>> {
    let marks = Marks::of(scope)?;
    let members = process::all()?.into_iter().filter_map(|pid| {
        if is_spared(scope, pid) || !marks.fit(pid) {
            return None;
        }
        let stat = process::stat(pid).filter(|stat| !stat.is_dead())?;
        Some(Member {
            pid,
            name: stat.name,
            state: stat.state,
        })
    });
    Ok(members.collect())
}

/// Whether this one process belongs to the tree, now.
pub(super) fn is_member(scope: &Scope, pid: u32) -> bool {
    !is_spared(scope, pid) && Marks::of(scope).is_ok_and(|marks| marks.fit(pid))
}

fn is_spared(scope: &Scope, pid: u32) -> bool {
    pid == std::process::id() || scope.spared.contains(&pid)
}

/// Reaps PostgreSQL's processes that died as adopted children of this one; false while one is still
/// on its way out, past its files and so no member any more. A postmaster that is left a zombie
/// keeps the next one from starting: it finds the process id in `postmaster.pid` in use.
///
/// Adopted ones are in the session of their guard or of their own; what this process starts and
/// waits for itself is in its own session.
pub(super) fn reap_adopted() -> bool {
    let me = std::process::id();
    let Some(session) = process::stat(me).map(|stat| stat.session) else {
        return true;
    };
    let children = process::children(me).unwrap_or_default();
    let adopted = children.into_iter().filter(|child| {
        process::stat(*child).is_some_and(|stat| {
            stat.session != session && SERVER_PROGRAMS.contains(&stat.name.as_str())
        })
    });
    let reap = |child| waitpid(process::raw(child), Some(WaitPidFlag::WNOHANG));
    adopted.fold(true, |all, child| {
        all & (reap(child) != Ok(WaitStatus::StillAlive))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock, tree};
    use std::process::Command;
    use std::time::Duration;

    #[test]
    fn a_shell_in_the_data_directory_is_left_alone() {
        let dir = tempfile::tempdir().expect("made");
        let mut shell = Command::new("sleep");
        let mut shell = shell
            .arg("600")
            .current_dir(dir.path())
            .spawn()
            .expect("started");
        let found = tree::find(&Scope::of(dir.path())).expect("listed");
        assert_eq!(found, []);
        let under = Scope::of(dir.path()).under(std::process::id());
        let found = tree::find(&under).expect("listed");
        assert!(found.iter().any(|member| member.pid == shell.id()));
        shell.kill().expect("killed");
        shell.wait().expect("noticed");
    }

    #[test]
    fn a_server_program_in_the_data_directory_is_killed() {
        let dir = tempfile::tempdir().expect("made");
        let program = dir.path().join("postgres");
        // Not by this process: a program that a fork of it has open for writing cannot be run.
        let copied = Command::new("cp").arg("/bin/sleep").arg(&program).status();
        assert!(copied.expect("cp").success());
        let mut server = Command::new(&program);
        let mut server = server
            .arg("600")
            .current_dir(dir.path())
            .spawn()
            .expect("started");
        let scope = Scope::of(dir.path());
        let found = tree::find(&scope).expect("listed");
        assert_eq!(
            found.iter().map(|member| member.pid).collect::<Vec<_>>(),
            [server.id()]
        );
        let deadline = clock::now() + Duration::from_secs(10);
        let proof = tree::empty(&scope, deadline).expect("emptied");
        assert_eq!(proof.killed, 1);
        assert_eq!(process::stat(server.id()), None, "killed and reaped");
        server.wait().expect_err("nobody is left to wait for");
    }
}
