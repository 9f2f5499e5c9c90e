//! Copies and rewinds that are killed in the middle.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::Held;
use crate::cluster::Cluster;
use crate::member::Part;
use crate::netns::{Cut, POSTGRES};
use crate::process;
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
    super::operator::remove_data(cluster, name)?;
    interrupt(cluster, name, "pg_basebackup").await
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
    cluster.member_mut(name)?.start()?;
    interrupt(cluster, name, "pg_rewind").await
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

async fn interrupt(cluster: &mut Cluster, name: &str, program: &str) -> anyhow::Result<Held> {
    stop_in_the_middle(cluster, name, program).await?;
    cluster.member_mut(name)?.kill(Part::Node)?;
    Ok(Held::Down(vec![name.to_owned()]))
}

/// Stops the program's processes once they have begun to write. They get on by short steps from the moment
/// they are seen: on a busy machine the whole work may be done between two looks.
async fn stop_in_the_middle(cluster: &Cluster, name: &str, program: &str) -> anyhow::Result<()> {
    let member = cluster.member(name)?;
    let deadline = Instant::now() + SEEN_WITHIN;
    let mut found = Vec::new();
    while Instant::now() < deadline {
        found.retain(process::Process::is_running);
        if found.is_empty() {
            // This takes long enough for all of the work, so it is not done between two steps.
            found = member.processes();
            found.retain(|process| process.command.contains(program));
        }
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
    anyhow::bail!("{program} was not seen at work within {SEEN_WITHIN:?}")
}
