//! Processes as `/proc` shows them, and signals by pid.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// One look at one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// The parent's process id.
    pub parent: i32,
    /// `proc(5)`: R, S, D, T (stopped), Z (zombie) ...
    pub state: char,
    /// Start in clock ticks since boot: with the pid, the identity of a process.
    pub started: u64,
    /// The command line, blanks between the words.
    pub command: String,
    /// The working directory; PostgreSQL's processes sit in their data directory.
    pub directory: Option<PathBuf>,
}

impl Process {
    /// Reads one process; nothing where it is gone.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, parent, started) = parse_stat(&stat)?;
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        Some(Self {
            pid,
            parent,
            state,
            started,
            command: String::from_utf8_lossy(&command)
                .replace('\0', " ")
                .trim()
                .to_owned(),
            directory: std::fs::read_link(format!("/proc/{pid}/cwd")).ok(),
        })
    }

    /// Its environment, a variable a line; nothing where it is gone or of another account.
    pub fn environment(&self) -> String {
        let bytes = std::fs::read(format!("/proc/{}/environ", self.pid)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', "\n")
    }

    /// What it has written to files and sockets so far (`proc(5)`, `wchar`); 0 where it is gone.
    pub fn written_bytes(&self) -> u64 {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.pid)).unwrap_or_default();
        let written = io.lines().find_map(|line| line.strip_prefix("wchar: "));
        written.and_then(|n| n.parse().ok()).unwrap_or(0)
    }

    /// Dead but for its entry: nobody has collected its status.
    pub const fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    /// True while the very same process (not a later one of that pid) runs.
    pub fn is_running(&self) -> bool {
        self.now().is_some_and(|now| !now.is_zombie())
    }

    /// True once the very same process stands still by a signal.
    pub fn is_stopped(&self) -> bool {
        self.now().is_some_and(|now| matches!(now.state, 'T' | 't'))
    }

    fn now(&self) -> Option<Self> {
        Self::of(self.pid).filter(|now| now.started == self.started)
    }
}

/// `pid (name) state parent ...`; the name may hold blanks and brackets, so the last bracket counts.
fn parse_stat(stat: &str) -> Option<(char, i32, u64)> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let state = fields.first()?.chars().next()?;
    // proc(5) counts from 1 and starts with pid and name: field 4 is the parent, 22 the start.
    Some((
        state,
        fields.get(1)?.parse().ok()?,
        fields.get(19)?.parse().ok()?,
    ))
}

/// Every process that is not a zombie.
pub fn running() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Process::of)
        .filter(|process| !process.is_zombie())
        .collect()
}

/// The processes that sit in `directory`: PostgreSQL's, whoever their parent is now.
pub fn inside(directory: &Path) -> Vec<Process> {
    let real = directory
        .canonicalize()
        .unwrap_or_else(|_| directory.to_owned());
    let deleted = PathBuf::from(format!("{} (deleted)", real.display()));
    running()
        .into_iter()
        .filter(|process| {
            process
                .directory
                .as_ref()
                .is_some_and(|at| *at == real || *at == deleted)
        })
        .collect()
}

/// `roots` and everything below them.
pub fn with_descendants(roots: &[i32]) -> Vec<Process> {
    let all = running();
    let mut wanted: BTreeSet<i32> = roots.iter().copied().collect();
    loop {
        let before = wanted.len();
        wanted.extend(
            all.iter()
                .filter(|p| wanted.contains(&p.parent))
                .map(|p| p.pid)
                .collect::<Vec<_>>(),
        );
        if wanted.len() == before {
            break;
        }
    }
    all.into_iter()
        .filter(|process| wanted.contains(&process.pid))
        .collect()
}

/// Sends a signal; a process that is gone is no error.
pub fn signal(pid: i32, signal: Signal) {
    // 0 and negative numbers would address whole groups.
    if pid > 1 {
        let _gone = kill(Pid::from_raw(pid), signal);
    }
}

/// Sends a signal to each of them.
pub fn signal_all(processes: &[Process], what: Signal) {
    for process in processes {
        if process.is_running() {
            signal(process.pid, what);
        }
    }
}

/// Processor time that a process has used.
pub fn cpu_time(pid: i32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    Some(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// Sums of `/proc/PID/smaps_rollup`, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// Resident set: what `ps` shows.
    pub resident: u64,
    /// Pages that only this process has.
    pub private: u64,
    /// Pages that cannot be swapped out.
    pub locked: u64,
}

/// Memory of a process; nothing where it is gone or of another account.
pub fn memory(pid: i32) -> Option<Memory> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let sum = |names: &[&str]| {
        text.lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(name, _)| names.contains(name))
            .filter_map(|(_, value)| value.split_whitespace().next()?.parse::<u64>().ok())
            .map(|kib| kib * 1024)
            .sum()
    };
    Some(Memory {
        resident: sum(&["Rss"]),
        private: sum(&["Private_Clean", "Private_Dirty"]),
        locked: sum(&["Locked"]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "12 (a) b (c)) S 7 1 1 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 1 0 98765 1 1";
        assert_eq!(parse_stat(stat), Some(('S', 7, 98765)));
    }

    #[test]
    fn a_child_is_found_and_its_death_seen() -> anyhow::Result<()> {
        let mut child = std::process::Command::new("sleep").arg("60").spawn()?;
        let pid = i32::try_from(child.id())?;
        let me = i32::try_from(std::process::id())?;
        let found = with_descendants(&[me]);
        let seen = found.iter().find(|process| process.pid == pid).cloned();
        child.kill()?;
        child.wait()?;
        let seen = seen.expect("the child is below this process");
        assert!(!seen.is_running());
        Ok(())
    }
}
