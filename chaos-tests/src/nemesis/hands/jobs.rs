//! Copies and rewinds that are killed in the middle.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::Held;
use crate::cluster::Cluster;
use crate::member::Part;
use crate::netns::{Cut, POSTGRES};
use crate::{process, wait};

const SEEN_WITHIN: Duration = Duration::from_secs(40);
/// Work that is under way has done something after this.
const MIDDLE: Duration = Duration::from_millis(60);
/// What the primary writes in this time reaches nobody.
const ALONE: Duration = Duration::from_millis(700);

/// Removes a replica's data, and kills the node while it copies another's.
pub(super) async fn interrupt_clone(cluster: &mut Cluster, name: &str) -> anyhow::Result<Held> {
    super::operator::remove_data(cluster, name)?;
    interrupt(cluster, name, "pg_basebackup").await
}

/// Has a primary write what nobody receives, fails over, and kills the node while it gives that up.
pub(super) async fn interrupt_rewind(cluster: &mut Cluster, name: &str) -> anyhow::Result<Held> {
    let cut = vec![Cut::Port(cluster.index(name)?, POSTGRES)];
    super::network::cut(cluster, cut.clone())?;
    tokio::time::sleep(ALONE).await;
    cluster.member_mut(name)?.kill(Part::Node)?;
    // Not before: the kernel of the dead would still send what it holds.
    cluster.wait_primary_other_than(name, SEEN_WITHIN).await?;
    super::network::mend(cluster, &cut)?;
    cluster.member_mut(name)?.start()?;
    interrupt(cluster, name, "pg_rewind").await
}

async fn interrupt(cluster: &mut Cluster, name: &str, program: &str) -> anyhow::Result<Held> {
    let member = cluster.member(name)?;
    let running = || {
        let found = member.processes().into_iter();
        found
            .filter(|process| process.command.contains(program))
            .collect::<Vec<_>>()
    };
    wait::until_true(program, SEEN_WITHIN, || !running().is_empty()).await?;
    tokio::time::sleep(MIDDLE).await;
    let found = running();
    anyhow::ensure!(!found.is_empty(), "{program} was done too soon");
    process::signal_all(&found, Signal::SIGSTOP);
    cluster.member_mut(name)?.kill(Part::Node)?;
    Ok(Held::Down(vec![name.to_owned()]))
}
