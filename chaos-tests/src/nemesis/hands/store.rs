//! Raft stores that are damaged, gone, or what they were long ago.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use super::Held;
use crate::cluster::Cluster;
use crate::ctl::{Answer, Ctl};
use crate::member::Part;
use crate::nemesis::Dose;
use crate::wait;

/// A primary that was named, ends before anybody has heard of it, and loses its store as well, leaves nobody who
/// knows whether it served: then an operator is asked (decision 0016). Between two losses of power of one
/// member there is time for somebody to serve; where other faults last, nobody may.
const SERVED_WITHIN: Duration = Duration::from_secs(10);
/// Refusals of commands in one round before nobody tries any more.
const REFUSED_MAX: u32 = 100;
/// The others tell that they remember more, as soon as they reach it; damage is found at the start.
const FOUND_OUT_WITHIN: Duration = Duration::from_secs(60);
/// Tries to write one entry.
const WRITES_MAX: u32 = 5;
/// Damage strikes each of these.
const PAGE_BYTES: usize = 4096;
/// Below the 16 KiB that a command may take.
const ENTRY_BYTES: usize = 15_000;

/// What [`damage`] has hit.
pub(in crate::nemesis) struct Damage {
    name: String,
    quarantined: usize,
}

/// What [`copy`] has kept.
pub(in crate::nemesis) struct OldStore {
    name: String,
    copy: PathBuf,
    written: tokio::task::JoinHandle<anyhow::Result<Answer>>,
}

/// Has all members write an entry, whoever leads; the setting means nothing here. One whose outcome was not
/// known may have been written all the same, and then the next one is refused for its version.
pub(super) fn write_something(
    cluster: &Cluster,
) -> tokio::task::JoinHandle<anyhow::Result<Answer>> {
    let ctl = cluster.ctl();
    let value = 9_000 + std::process::id() % 900;
    tokio::spawn(async move {
        let mut last = Err(anyhow::anyhow!("nothing was asked"));
        for step in 0..WRITES_MAX {
            // Not the same value twice: that would be no entry.
            let set = format!("proxy.hold_ms={}", value + step);
            last = ctl
                .run(&["settings", "set", &set, "--yes", "--timeout", "15"])
                .await;
            if step > 0 && last.as_ref().is_ok_and(|answer| answer.code == 0) {
                break;
            }
        }
        last
    })
}

/// Has all members write entries of many pages until it is aborted: a store has some room within its
/// own files, and a few small entries do not need more.
pub(super) async fn write_much(ctl: Ctl) -> anyhow::Result<()> {
    let mut refused = 0;
    for number in 0_u64.. {
        let note = format!("{number}{}", "x".repeat(ENTRY_BYTES));
        let set = format!("postgres.parameters.pgha_chaos.note={note}");
        let answer = ctl
            .run(&["settings", "set", &set, "--yes", "--timeout", "5"])
            .await?;
        let outcome = answer.stderr.lines().next().unwrap_or_default();
        // What has no leader at the moment is refused, too.
        refused += u32::from(answer.code == 1);
        anyhow::ensure!(refused < REFUSED_MAX, "refused: {outcome}");
    }
    Ok(())
}

/// Of each page of the store that is in use one byte is another one; `dose` says which. A single byte may be
/// one that no record needs any more.
pub(super) fn damage(cluster: &mut Cluster, name: &str, dose: Dose) -> anyhow::Result<Held> {
    let Dose::Percent(percent) = dose else {
        anyhow::bail!("damage without a place");
    };
    let member = cluster.member_mut(name)?;
    member.kill(Part::Node)?;
    let file = largest_file(&member.raft_directory())?;
    let mut bytes = std::fs::read(&file)?;
    let mut damaged = 0;
    for page in bytes.chunks_mut(PAGE_BYTES) {
        let used: Vec<usize> = (0..page.len()).filter(|index| page[*index] != 0).collect();
        if let Some(at) = used.get(used.len() * usize::from(percent) / 100) {
            page[*at] ^= 0b0001_0000;
            damaged += 1;
        }
    }
    anyhow::ensure!(damaged > 0, "an empty store");
    // In place: the file stays the account's.
    std::fs::write(&file, bytes)?;
    Ok(Held::Damage(Damage {
        name: name.to_owned(),
        quarantined: quarantined(&member.raft_directory()),
    }))
}

impl Damage {
    /// Starts the member, which has to find it.
    pub(super) async fn found_out(self, cluster: &mut Cluster) -> anyhow::Result<()> {
        let member = cluster.member_mut(&self.name)?;
        member.start()?;
        let directory = member.raft_directory();
        is_moved_aside("a damaged store", &directory, self.quarantined).await
    }
}

/// `rm -rf` of the store of a member without power.
pub(super) fn delete(cluster: &mut Cluster, name: &str) -> anyhow::Result<Held> {
    let member = cluster.member_mut(name)?;
    member.kill(Part::Node)?;
    member.remove_raft_directory()?;
    Ok(Held::Down(vec![name.to_owned()]))
}

/// Copies the store of a member without power, and starts it again.
pub(super) fn copy(cluster: &mut Cluster, name: &str) -> anyhow::Result<Held> {
    let copy = cluster.scratch.path().join(format!("{name}.old-store"));
    let member = cluster.member_mut(name)?;
    member.kill(Part::Node)?;
    copy_tree(&member.raft_directory(), &copy)?;
    member.start()?;
    Ok(Held::OldStore(OldStore {
        name: name.to_owned(),
        copy,
        written: write_something(cluster),
    }))
}

impl OldStore {
    /// Has the old copy be the store after another power cut.
    pub(super) async fn put_back(self, cluster: &mut Cluster) -> anyhow::Result<()> {
        let answer = self.written.await??;
        let who = &*cluster;
        let serves = || async { who.primary().await.map(drop) };
        let _nobody = wait::until("a primary", SERVED_WITHIN, serves).await;
        let member = cluster.member_mut(&self.name)?;
        member.kill(Part::Node)?;
        member.remove_raft_directory()?;
        // Copied, for the member may have moved to a disk of its own.
        let directory = member.raft_directory();
        copy_tree(&self.copy, &directory)?;
        let before = quarantined(&directory);
        member.start()?;
        anyhow::ensure!(answer.code == 0, "the copy is not old: {answer:?}");
        is_moved_aside("an old store", &directory, before).await
    }
}

/// Waits for it; `before` were moved aside already.
async fn is_moved_aside(what: &str, directory: &Path, before: usize) -> anyhow::Result<()> {
    let what = format!("{what} is moved aside");
    wait::until_true(&what, FOUND_OUT_WITHIN, || quarantined(directory) > before).await
}

/// How many stores the member has moved aside.
fn quarantined(directory: &Path) -> usize {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let aside = format!("{name}.quarantined-");
    let beside = directory.parent().and_then(|parent| parent.read_dir().ok());
    let names = beside.into_iter().flatten().flatten();
    names
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&aside))
        .count()
}

fn copy_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    let _of_an_earlier_round = std::fs::remove_dir_all(to);
    let copied = Command::new("cp").arg("-a").args([from, to]).output()?;
    anyhow::ensure!(
        copied.status.success(),
        "cp: {}",
        String::from_utf8_lossy(&copied.stderr)
    );
    Ok(())
}

fn largest_file(directory: &Path) -> anyhow::Result<PathBuf> {
    let mut directories = vec![directory.to_owned()];
    let mut largest: Option<(u64, PathBuf)> = None;
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory)?.flatten() {
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                directories.push(entry.path());
            } else {
                largest = largest.max(Some((metadata.len(), entry.path())));
            }
        }
    }
    let (_, path) = largest.with_context(|| format!("no file in {}", directory.display()))?;
    Ok(path)
}
