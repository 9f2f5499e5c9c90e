//! Disks without room: members that were moved to small ones beforehand.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use super::Held;
use crate::cluster::Cluster;
use crate::member::Member;
use crate::mount::SmallDisk;
use crate::sql::Target;
use crate::wait;

/// What has a disk of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// `pg_wal`.
    Wal,
    /// The data directory of PostgreSQL, `pg_wal` with it unless that has its own.
    Data,
    /// Everything else of the member, the Raft store among it.
    Store,
}

const WITHIN: Duration = Duration::from_secs(60);
/// What who has no room says.
const NO_SPACE: &str = "No space left on device";
/// Room for whatever the tests write, before it is taken away; memory only as far as it is used.
const MEBIBYTES: u32 = 8_000;
/// On a busy machine it takes a while until somebody needs room.
const MISSED_WITHIN: Duration = Duration::from_secs(30);

impl Part {
    fn disk(self, name: &str) -> String {
        match self {
            Self::Wal => format!("{name}-wal"),
            Self::Data => format!("{name}-data"),
            Self::Store => format!("{name}-store"),
        }
    }
}

/// Moves that part of a member to a small disk, unless it is there already.
pub(super) async fn prepare(cluster: &mut Cluster, name: &str, part: Part) -> anyhow::Result<()> {
    let label = part.disk(name);
    let mount = cluster.scratch.path().join(&label);
    let has_disk = cluster.disks.iter().any(|(known, _)| *known == label);
    let wal = cluster.member(name)?.postgres_directory().join("pg_wal");
    // Data that was copied anew has its WAL within it again.
    let is_there = part != Part::Wal || leads_into(&wal, &mount);
    if has_disk && is_there {
        return Ok(());
    }
    super::operator::stop_member(cluster, name, WITHIN).await?;
    if !has_disk {
        cluster.account.directory(&mount, 0o700)?;
        let disk = SmallDisk::over(&mount, MEBIBYTES)?;
        cluster.account.own(&mount)?;
        cluster.disks.push((label, disk));
    }
    let member = cluster.member_mut(name)?;
    let postgres = member.postgres_directory();
    match part {
        Part::Wal => {
            // Data that was moved aside may still lead to the one before.
            let mut places = (0..).map(|number| mount.join(format!("pg_wal.{number}")));
            let there = places.find(|place| !place.exists()).context("no name")?;
            relocate(&wal, &there)?;
            std::os::unix::fs::symlink(there, &wal)?;
        }
        Part::Data => {
            let there = mount.join("postgres");
            relocate(&postgres, &there)?;
            member.set_flag("--pg-data-dir", &there.display().to_string());
        }
        Part::Store => {
            let there = mount.join(name);
            member.set_flag("--pg-data-dir", &postgres.display().to_string());
            if postgres.starts_with(&member.directory) {
                let aside = member.directory.with_extension("postgres");
                std::fs::rename(&postgres, &aside)?;
                relocate(&member.directory, &there)?;
                std::fs::create_dir(&member.directory)?;
                std::fs::rename(&aside, &postgres)?;
            } else {
                relocate(&member.directory, &there)?;
            }
            member.set_flag("--data-dir", &there.display().to_string());
            member.directory = there;
        }
    }
    let emptied = cluster.member(name)?.postgres_directory();
    cluster.account.own(emptied.parent().unwrap_or(&emptied))?;
    cluster.member_mut(name)?.start()?;
    cluster.wait_healthy(WITHIN).await.map(drop)
}

fn leads_into(link: &Path, directory: &Path) -> bool {
    std::fs::read_link(link).is_ok_and(|to| to.starts_with(directory))
}

/// `mv` across file systems, owners kept.
fn relocate(from: &Path, to: &Path) -> anyhow::Result<()> {
    let moved = Command::new("mv").args([from, to]).output()?;
    anyhow::ensure!(
        moved.status.success(),
        "mv: {}",
        String::from_utf8_lossy(&moved.stderr)
    );
    Ok(())
}

/// A full disk, and somebody who needs room on it.
pub(in crate::nemesis) struct Ballast {
    label: String,
    part: Part,
    need: tokio::task::JoinHandle<anyhow::Result<()>>,
    name: String,
    /// Lengths of the logs of the sidecar and of PostgreSQL before.
    logged: [usize; 2],
}

fn logs(member: &Member) -> [String; 2] {
    [member.log_text(), member.postgres_log_text()]
}

fn disk<'a>(cluster: &'a Cluster, label: &str) -> anyhow::Result<&'a SmallDisk> {
    let found = cluster.disks.iter().find(|(known, _)| known == label);
    found
        .map(|(_, disk)| disk)
        .with_context(|| format!("no disk {label}"))
}

/// Takes all room away.
pub(super) fn fill(cluster: &Cluster, name: &str, part: Part) -> anyhow::Result<Held> {
    let label = part.disk(name);
    let logged = logs(cluster.member(name)?).map(|log| log.len());
    disk(cluster, &label)?.fill()?;
    let need = match part {
        Part::Wal | Part::Data => tokio::spawn(write_much(cluster.direct(name)?)),
        Part::Store => tokio::spawn(super::store::write_much(cluster.ctl())),
    };
    Ok(Held::Ballast(Ballast {
        label,
        part,
        need,
        name: name.to_owned(),
        logged,
    }))
}

/// Writes until that fails, for the load alone would not need a new segment or page for long.
async fn write_much(target: Target) -> anyhow::Result<()> {
    let session = target.connect(WITHIN).await?;
    let table = "CREATE TABLE IF NOT EXISTS pgha_much (text text)";
    let rows =
        "INSERT INTO pgha_much SELECT repeat(n::text, 100) FROM generate_series(1, 10000) AS n";
    session.run(table).await?;
    loop {
        session.run(rows).await?;
    }
}

impl Ballast {
    /// Gives the room back once somebody has missed it; an error where nobody did.
    pub(super) async fn end(self, cluster: &mut Cluster) -> anyhow::Result<()> {
        let missed = wait::until_true("somebody who misses the room", MISSED_WITHIN, || match self
            .part
        {
            Part::Wal | Part::Data => self.need.is_finished(),
            Part::Store => self.complained(cluster),
        })
        .await;
        let complained = self.complained(cluster);
        disk(cluster, &self.label)?.grow(MEBIBYTES)?;
        super::processes::start(cluster, &[self.name])?;
        self.need.abort();
        let wrote = match self.need.await {
            Ok(Err(error)) => format!("{error:#}"),
            Ok(Ok(())) | Err(_) => "every write was taken".to_owned(),
        };
        // A writer ends for other reasons, too.
        anyhow::ensure!(
            missed.is_err() || complained || wrote.contains(NO_SPACE),
            "nobody says `{NO_SPACE}`; the writer: {wrote}"
        );
        missed.context(wrote)
    }

    fn complained(&self, cluster: &Cluster) -> bool {
        let texts = cluster.member(&self.name).map(logs).unwrap_or_default();
        let mut told = texts.iter().zip(self.logged);
        told.any(|(text, logged)| {
            text.get(logged..)
                .is_some_and(|news| news.contains(NO_SPACE))
        })
    }
}
