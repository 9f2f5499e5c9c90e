//! Copies and rewinds that are killed in the middle.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::task::JoinHandle;

use super::Held;
use crate::cluster::Cluster;
use crate::member::Part;
use crate::netns::{Cut, POSTGRES};
use crate::process::{self, Process};
use crate::wait;

const SEEN_WITHIN: Duration = Duration::from_secs(40);
/// The kernel stops a process, or it has ended.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks at how far the work is.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Who has written this has begun, and has more before it.
const BEGUN_BYTES: u64 = 64 << 10;
/// A tail that nobody receives.
const TAIL_BYTES: i64 = 16 << 10;

/// Removes a replica's data, and kills the node while it copies another's.
pub(super) async fn interrupt_clone(cluster: &mut Cluster, name: &str) -> anyhow::Result<Held> {
    // Before the removal: the copy may be done by the time that it returns.
    let looking = Looking::begin(cluster, name, "pg_basebackup")?;
    super::operator::remove_data(cluster, name)?;
    interrupt(cluster, name, looking).await
}

/// Has a primary write what nobody receives, fails over, and kills the node while it gives that up.
pub(super) async fn interrupt_rewind(cluster: &mut Cluster, name: &str) -> anyhow::Result<Held> {
    let cut = vec![Cut::Port(cluster.index(name)?, POSTGRES)];
    super::network::cut(cluster, cut.clone())?;
    write_alone(cluster, name).await?;
    cluster.member_mut(name)?.kill(Part::Node)?;
    // Not before: the kernel of the dead would still send what it holds.
    cluster.wait_primary_other_than(name, SEEN_WITHIN).await?;
    super::network::mend(cluster, &cut)?;
    let looking = Looking::begin(cluster, name, "pg_rewind")?;
    cluster.member_mut(name)?.start()?;
    interrupt(cluster, name, looking).await
}

/// Waits until the clients have made it write a tail.
async fn write_alone(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    let direct = cluster.direct(name)?;
    let sql = "SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint";
    let first = || async { direct.value::<i64>(sql).await };
    let cut_at = wait::until("the end of its WAL", SEEN_WITHIN, first).await?;
    wait::until("a tail that nobody has", SEEN_WITHIN, || async {
        let tail = direct.value::<i64>(sql).await? - cut_at;
        anyhow::ensure!(tail >= TAIL_BYTES, "{tail} bytes");
        Ok(())
    })
    .await
}

async fn interrupt(cluster: &mut Cluster, name: &str, looking: Looking) -> anyhow::Result<Held> {
    looking.stop_in_the_middle().await?;
    cluster.member_mut(name)?.kill(Part::Node)?;
    Ok(Held::Down(vec![name.to_owned()]))
}

/// A thread of its own that waits for a program of a member and stops it: on a busy machine the whole work may
/// be done before a task gets its turn.
struct Looking {
    program: &'static str,
    directory: String,
    deadline: Instant,
    found: JoinHandle<Vec<Process>>,
}

impl Looking {
    fn begin(cluster: &Cluster, name: &str, program: &'static str) -> anyhow::Result<Self> {
        let directory = format!("{}/", cluster.member(name)?.directory.display());
        let deadline = Instant::now() + SEEN_WITHIN;
        Ok(Self {
            found: look(program, directory.clone(), deadline),
            program,
            directory,
            deadline,
        })
    }

    /// Stops the program's processes once they have begun to write. They get on by short steps from the moment
    /// they are seen.
    async fn stop_in_the_middle(mut self) -> anyhow::Result<()> {
        let program = self.program;
        while Instant::now() < self.deadline {
            let found = self.found.await?;
            while found.iter().any(Process::is_running) {
                process::signal_all(&found, Signal::SIGSTOP);
                let settled = || found.iter().all(|p| p.is_stopped() || !p.is_running());
                wait::until_true(&format!("{program} to stop"), STOPPED_WITHIN, settled).await?;
                let mut stopped = found.iter().filter(|process| process.is_stopped());
                if stopped.any(|process| process.written_bytes() >= BEGUN_BYTES) {
                    return Ok(());
                }
                process::signal_all(&found, Signal::SIGCONT);
                tokio::time::sleep(LOOK_EVERY).await;
            }
            // It gave up before it had begun: there will be another one.
            self.found = look(program, self.directory.clone(), self.deadline);
        }
        anyhow::bail!("{program} was not seen at work within {SEEN_WITHIN:?}")
    }
}

/// The stopped processes of a program that works in `directory`; none past the deadline.
fn look(program: &'static str, directory: String, deadline: Instant) -> JoinHandle<Vec<Process>> {
    tokio::task::spawn_blocking(move || {
        while Instant::now() < deadline {
            let mut found = process::running();
            found.retain(|process| {
                process.command.contains(program) && process.command.contains(&directory)
            });
            process::signal_all(&found, Signal::SIGSTOP);
            if !found.is_empty() {
                return found;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Vec::new()
    })
}
