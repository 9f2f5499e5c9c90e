//! Killing, freezing and starting.

use nix::sys::signal::Signal;

use super::Held;
use crate::cluster::Cluster;
use crate::member::Part;
use crate::process;

/// `kill -9`. Whole nodes are all stopped before the first of them is killed: a power cut is one.
pub(super) fn kill(cluster: &mut Cluster, names: &[String], part: Part) -> anyhow::Result<Held> {
    if part == Part::Node {
        for name in names {
            let node = cluster.member(name)?.part(part)?;
            process::signal_all(&node, Signal::SIGSTOP);
        }
    }
    for name in names {
        cluster.member_mut(name)?.kill(part)?;
    }
    Ok(Held::Down(names.to_vec()))
}

/// What a service manager would do, and a power button.
pub(super) fn start(cluster: &mut Cluster, names: &[String]) -> anyhow::Result<()> {
    for name in names {
        let member = cluster.member_mut(name)?;
        if !member.is_up() {
            member.start()?;
        }
    }
    Ok(())
}

/// SIGSTOP.
pub(super) fn freeze(cluster: &Cluster, names: &[String], part: Part) -> anyhow::Result<Held> {
    for name in names {
        cluster.member(name)?.freeze(part)?;
    }
    Ok(Held::Frozen(
        names.iter().map(|name| (name.clone(), part)).collect(),
    ))
}

/// SIGCONT of what is still there: a stopped process may have been killed and replaced meanwhile.
pub(super) fn thaw(cluster: &mut Cluster, parts: &[(String, Part)]) -> anyhow::Result<()> {
    for (name, part) in parts {
        let _killed_meanwhile = cluster.member(name)?.thaw(*part);
    }
    let names: Vec<String> = parts.iter().map(|(name, _)| name.clone()).collect();
    start(cluster, &names)
}
