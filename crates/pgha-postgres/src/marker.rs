//! The marker of P8: a file outside the data directory that stands while a clone, a rewind or an
//! initialisation works on it. PostgreSQL is never started while it stands, because what is there
//! may look complete and not be.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use pgha_core::Epoch;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::files::{At, FileError, read_if_present, remove_durably, write_atomically};

const FILE: &str = "job.marker";
const POLL: Duration = Duration::from_millis(10);

/// What works on the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// `pg_basebackup` into a directory beside it.
    Clone,
    /// `pg_rewind` in place: interrupted, the directory is of no use.
    Rewind,
    /// `initdb` into a directory beside it.
    Initdb,
}

impl std::fmt::Display for JobKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Clone => "clone",
            Self::Rewind => "rewind",
            Self::Initdb => "initdb",
        })
    }
}

/// The content of the marker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// What works, or worked when the sidecar died.
    pub kind: JobKind,
    /// The epoch it was started for.
    pub epoch: Epoch,
    /// Whether the data directory itself was left half changed, by this job or one before it: only
    /// a clone that comes to its end makes it good.
    pub directory_broken: bool,
    /// The process that works, leader of its own process group.
    pub process: Option<JobProcess>,
}

/// A process, told apart from a later one with the same number by when it was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobProcess {
    /// Its number, also that of its group.
    pub pid: i32,
    /// Clock ticks from boot to its start (proc_pid_stat(5), field 22).
    pub started_ticks: u64,
    /// The boot it belongs to: ticks start anew at each.
    pub boot_id: String,
}

/// The marker could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum MarkerError {
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// It stands, but its content is lost. It counts as standing.
    #[error(
        "{} is damaged ({source}): a clone, rewind or initdb was interrupted; the data directory \
         must be cloned again", path.display()
    )]
    Damaged {
        /// The marker.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// A process left behind by an earlier sidecar would not end.
#[derive(Debug, thiserror::Error)]
#[error("process {pid} of an interrupted {kind} did not end within {waited:?} after SIGKILL")]
pub struct LeftoverError {
    /// What it worked on.
    pub kind: JobKind,
    /// The process.
    pub pid: i32,
    /// How long it was waited for.
    pub waited: Duration,
}

impl Marker {
    /// The marker that stands, if one does.
    pub fn read(run_dir: &Path) -> Result<Option<Self>, MarkerError> {
        let path = run_dir.join(FILE);
        let Some(text) = read_if_present(&path)? else {
            return Ok(None);
        };
        match serde_json::from_str(&text) {
            Ok(marker) => Ok(Some(marker)),
            Err(source) => Err(MarkerError::Damaged { path, source }),
        }
    }

    /// Whether any marker stands, readable or not.
    pub fn stands(run_dir: &Path) -> Result<bool, FileError> {
        let path = run_dir.join(FILE);
        fs::exists(&path).at("inspect", &path)
    }

    /// Puts up the marker, durably. One that stands is replaced: the job is done again.
    pub fn begin(run_dir: &Path, kind: JobKind, epoch: Epoch) -> Result<MarkerGuard, MarkerError> {
        fs::create_dir_all(run_dir).at("create", run_dir)?;
        let directory_broken = match Self::read(run_dir) {
            Ok(None) => false,
            Ok(Some(before)) => before.directory_broken || before.kind == JobKind::Rewind,
            Err(MarkerError::Damaged { .. }) => true,
            Err(error @ MarkerError::File(_)) => return Err(error),
        };
        let marker = Self {
            kind,
            epoch,
            directory_broken,
            process: None,
        };
        let guard = MarkerGuard {
            path: run_dir.join(FILE),
            marker,
        };
        guard.write()?;
        Ok(guard)
    }

    /// Kills the process group that a dead sidecar's job left behind and waits until it is gone.
    /// Does nothing where the number now belongs to somebody else.
    pub async fn kill_leftover(&self, limit: Duration) -> Result<(), LeftoverError> {
        let Some(process) = &self.process else {
            return Ok(());
        };
        let deadline = Instant::now() + limit;
        while process.is_alive() {
            if killpg(Pid::from_raw(process.pid), Signal::SIGKILL) == Err(Errno::ESRCH) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(LeftoverError {
                    kind: self.kind,
                    pid: process.pid,
                    waited: limit,
                });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

/// A standing marker of this process. Dropping it leaves the marker standing: only a job that
/// came to its end takes it down.
#[derive(Debug)]
pub struct MarkerGuard {
    path: PathBuf,
    marker: Marker,
}

impl MarkerGuard {
    /// Adds the process, so that a new sidecar can end it.
    pub fn name_process(&mut self, pid: i32) -> Result<(), MarkerError> {
        self.marker.process = JobProcess::of(pid);
        self.write()
    }

    /// Takes the marker down after a job that failed without touching the data directory; it
    /// stays where that had been broken before.
    pub fn abandon(mut self) -> Result<(), MarkerError> {
        if self.marker.directory_broken {
            self.marker.process = None;
            return self.write();
        }
        self.finish()
    }

    /// Takes the marker down, durably. The data directory may be started.
    pub fn finish(self) -> Result<(), MarkerError> {
        remove_durably(&self.path)?;
        Ok(())
    }

    fn write(&self) -> Result<(), MarkerError> {
        let text = serde_json::to_vec(&self.marker).map_err(|source| MarkerError::Damaged {
            path: self.path.clone(),
            source,
        })?;
        Ok(write_atomically(&self.path, &text)?)
    }
}

impl JobProcess {
    fn of(pid: i32) -> Option<Self> {
        Some(Self {
            pid,
            started_ticks: started_ticks(pid)?,
            boot_id: boot_id()?,
        })
    }

    /// Alive, and not a zombie that only waits for its parent.
    fn is_alive(&self) -> bool {
        Self::of(self.pid).is_some_and(|now| now == *self)
    }
}

fn boot_id() -> Option<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .ok()
        .map(|id| id.trim().to_owned())
}

/// `None` where there is no such process or it has ended.
fn started_ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name stands in parentheses and may hold anything, also parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    // The state was field 3; field 22 is 18 further.
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    #[test]
    fn stands_until_the_job_finished() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Marker::read(dir.path()).unwrap(), None);
        let guard = Marker::begin(dir.path(), JobKind::Rewind, Epoch(7)).unwrap();
        drop(guard);
        let standing = Marker::read(dir.path()).unwrap().unwrap();
        assert_eq!(
            (standing.kind, standing.epoch, standing.process),
            (JobKind::Rewind, Epoch(7), None)
        );
        let guard = Marker::begin(dir.path(), JobKind::Clone, Epoch(8)).unwrap();
        guard.finish().unwrap();
        assert!(!Marker::stands(dir.path()).unwrap());
    }

    #[test]
    fn a_failed_clone_does_not_excuse_an_interrupted_rewind() {
        let dir = tempfile::tempdir().unwrap();
        drop(Marker::begin(dir.path(), JobKind::Rewind, Epoch(1)).unwrap());
        for _ in 0..2 {
            Marker::begin(dir.path(), JobKind::Clone, Epoch(2))
                .unwrap()
                .abandon()
                .unwrap();
            assert!(Marker::stands(dir.path()).unwrap());
        }
        Marker::begin(dir.path(), JobKind::Clone, Epoch(3))
            .unwrap()
            .finish()
            .unwrap();
        Marker::begin(dir.path(), JobKind::Clone, Epoch(4))
            .unwrap()
            .abandon()
            .unwrap();
        assert!(!Marker::stands(dir.path()).unwrap());
    }

    #[test]
    fn a_damaged_marker_stands() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(Marker::stands(dir.path()).unwrap());
        assert!(matches!(
            Marker::read(dir.path()),
            Err(MarkerError::Damaged { .. })
        ));
    }

    #[tokio::test]
    async fn kills_what_a_dead_sidecar_left_behind_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new("sleep")
            .arg("600")
            .process_group(0)
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let mut guard = Marker::begin(dir.path(), JobKind::Clone, Epoch(1)).unwrap();
        guard.name_process(pid).unwrap();
        let mut marker = Marker::read(dir.path()).unwrap().unwrap();
        let limit = Duration::from_secs(5);

        let process = marker.process.as_mut().unwrap();
        process.started_ticks += 1;
        marker.kill_leftover(limit).await.unwrap();
        assert!(
            child.try_wait().unwrap().is_none(),
            "a process of the same number was killed"
        );

        marker.process.as_mut().unwrap().started_ticks -= 1;
        marker.kill_leftover(limit).await.unwrap();
        assert!(!child.wait().unwrap().success());
    }
}
