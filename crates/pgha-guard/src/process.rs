//! What `/proc` says about processes (proc(5)).

use std::fs;
use std::io;
use std::path::Path;
use std::sync::OnceLock;

use nix::unistd::Pid;

/// A line of `/proc/PID/stat`, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) name: String,
    pub(crate) state: char,
    pub(crate) parent: u32,
    pub(crate) session: u32,
}

impl Stat {
    /// A process that has ended and only waits for its parent to notice.
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// The process id as the system calls want it. Linux gives none above 2^22.
pub(crate) fn raw(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX))
}

/// The process's line; none once it is gone.
pub(crate) fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(line: &str) -> Option<Stat> {
    // The name may hold spaces and parentheses itself: it ends at the last one.
    let (start, rest) = line.rsplit_once(')')?;
    let (_, name) = start.split_once('(')?;
    let mut fields = rest.split_ascii_whitespace();
    Some(Stat {
        name: name.to_owned(),
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
        session: fields.nth(1)?.parse().ok()?,
    })
}

/// All processes that this one can see.
pub(crate) fn all() -> io::Result<Vec<u32>> {
    let names =
        fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter_map(|name| name.parse().ok()).collect())
}

/// The children of a process, dead ones that wait to be noticed included; none once it is gone.
pub(crate) fn children(pid: u32) -> io::Result<Vec<u32>> {
    if !kernel_lists_children() {
        let is_child = |child: &u32| stat(*child).is_some_and(|stat| stat.parent == pid);
        return Ok(all()?.into_iter().filter(is_child).collect());
    }
    let Some(threads) = unless_gone(fs::read_dir(format!("/proc/{pid}/task")))? else {
        return Ok(Vec::new());
    };
    let mut children = Vec::new();
    for thread in threads {
        let Some(thread) = unless_gone(thread)? else {
            break;
        };
        let Some(list) = unless_gone(fs::read_to_string(thread.path().join("children")))? else {
            continue;
        };
        children.extend(
            list.split_ascii_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
    }
    Ok(children)
}

/// `/proc/PID/task/TID/children` needs `CONFIG_PROC_CHILDREN`.
fn kernel_lists_children() -> bool {
    static LISTS: OnceLock<bool> = OnceLock::new();
    *LISTS.get_or_init(|| Path::new("/proc/thread-self/children").exists())
}

fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let stat = parse_stat("7 (a) b (c)) S 3 7 9 0 -1").expect("well formed");
        assert_eq!((stat.name.as_str(), stat.state), ("a) b (c)", 'S'));
        assert_eq!((stat.parent, stat.session), (3, 9));
    }

    #[test]
    fn a_child_is_listed_until_it_is_noticed() {
        let mut child = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .expect("started");
        let me = std::process::id();
        assert!(children(me).expect("listed").contains(&child.id()));
        assert_eq!(stat(child.id()).expect("alive").parent, me);
        child.kill().expect("killed");
        child.wait().expect("noticed");
        assert!(!children(me).expect("listed").contains(&child.id()));
        assert_eq!(
            children(child.id()).expect("gone is no error"),
            Vec::<u32>::new()
        );
    }
}
