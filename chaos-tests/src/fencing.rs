//! A primary under sessions that go straight to PostgreSQL, and the proof that all of it had ended before
//! anybody took over.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use nix::sys::signal::Signal;

use crate::busy::{self, Busy};
use crate::cluster::Cluster;
use crate::history::HistoryEntry;
use crate::member::Member;
use crate::process::{self, Process};
use crate::tree_watch::{Seen, Signs, TreeWatch};
use crate::{plain, wait};

const WITHIN: Duration = Duration::from_secs(90);
const SESSIONS: usize = 16;
/// Commits of each session before anything happens.
const WARM: usize = 20;
/// Past it, a stopped backend is held to keep the others from committing.
const ALONE_WITHIN: Duration = Duration::from_secs(3);
const PROCEDURE: &str = "DO $$ BEGIN LOOP INSERT INTO busy (at) VALUES (clock_timestamp()); COMMIT; \
                         END LOOP; END $$";

/// A loaded primary just before the blow.
pub struct Loaded {
    /// All members.
    pub cluster: Cluster,
    /// Whose tree is watched.
    pub primary: String,
    sessions: Vec<Busy>,
    procedure: Procedure,
    /// The stopped backend is that of the first session, since then.
    stopped_at: SystemTime,
    before: HistoryEntry,
    watch: TreeWatch,
}

/// `psql` on the socket, ended with its test.
struct Procedure(Child);

impl Drop for Procedure {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn tree(cluster: &Cluster, primary: &str) -> anyhow::Result<Vec<Process>> {
    let tree = cluster.member(primary)?.postgres_processes();
    anyhow::ensure!(tree.len() > SESSIONS, "{} processes", tree.len());
    Ok(tree)
}

fn signs(cluster: &Cluster, primary: &str, timeline: u32) -> anyhow::Result<Signs> {
    let others = || cluster.members.iter().filter(|m| m.name != primary);
    let length = |member: &Member| Ok((member.log.clone(), member.log.metadata()?.len()));
    let promotions: Vec<PathBuf> = others()
        .map(|member| history_file(member, timeline + 1))
        .collect();
    anyhow::ensure!(
        !promotions.iter().any(|file| file.exists()),
        "timeline {} was begun before",
        timeline + 1
    );
    Ok(Signs {
        guard: cluster.member(primary)?.guard_pid()?,
        logs: others().map(length).collect::<anyhow::Result<_>>()?,
        promotions,
    })
}

/// PostgreSQL writes it when it is promoted to that timeline.
fn history_file(member: &Member, timeline: u32) -> PathBuf {
    let name = format!("pg_wal/{timeline:08X}.history");
    member.postgres_directory().join(name)
}

fn on_the_socket(cluster: &Cluster, primary: &str) -> anyhow::Result<Procedure> {
    let member = cluster.member(primary)?;
    let mut command = cluster
        .account
        .command(plain::binaries()?.join("psql"), None);
    command
        .args(["-X", "-w", "-d", "postgres", "-U", "postgres"])
        .arg("-h")
        .arg(member.directory.join("run"))
        .args(["-p", &member.addresses.postgres.port().to_string()])
        .args(["-c", PROCEDURE])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok(Procedure(command.spawn().context("psql does not start")?))
}

/// Stops the backend of the first session, while all others go on; when that was.
async fn stop_first(sessions: &[Busy]) -> anyhow::Result<SystemTime> {
    let (first, others) = sessions.split_first().context("sessions")?;
    wait::until("a backend that can be stopped alone", WITHIN, || async {
        process::signal(first.backend, Signal::SIGSTOP);
        wait::until_true("a stopped backend", WITHIN, || {
            Process::of(first.backend).is_some_and(|process| process.state == 'T')
        })
        .await?;
        let stopped_at = SystemTime::now();
        for other in others {
            // One stop in twenty meets a backend that flushes WAL for everybody: with it all others
            // would stand still, and nobody would be served until the fault.
            if let Err(reason) = other.advance(WARM, ALONE_WITHIN).await {
                process::signal(first.backend, Signal::SIGCONT);
                first.advance(1, WITHIN).await?;
                return Err(reason);
            }
        }
        Ok(stopped_at)
    })
    .await
}

impl Loaded {
    /// Loads the primary of a cluster that admits direct logins, stops one of the busy backends, and begins
    /// to watch.
    pub async fn begin(cluster: Cluster) -> anyhow::Result<Self> {
        let primary = cluster.primary().await?;
        let direct = cluster.direct(&primary)?;
        direct.run(busy::TABLE).await?;
        let mut sessions = Vec::new();
        for _ in 0..SESSIONS {
            sessions.push(Busy::start(&direct).await?);
        }
        let procedure = on_the_socket(&cluster, &primary)?;
        wait::until("the procedure to commit", WITHIN, || async {
            let sql = "SELECT count(*) FROM pg_stat_activity \
                       WHERE query LIKE 'DO %' AND client_port = -1 AND state = 'active'";
            let found: i64 = direct.value(sql).await?;
            anyhow::ensure!(found == 1, "{found}");
            Ok(())
        })
        .await?;
        for session in &sessions {
            session.advance(WARM, WITHIN).await?;
        }
        let stopped_at = stop_first(&sessions).await?;
        let before = newest(&cluster).await?;
        let signs = signs(&cluster, &primary, before.timeline)?;
        let watch = TreeWatch::begin(tree(&cluster, &primary)?, signs);
        Ok(Self {
            cluster,
            primary,
            sessions,
            procedure,
            stopped_at,
            before,
            watch,
        })
    }

    /// A later epoch serves: nothing of the old tree lived when that could begin, and nobody was told
    /// anything by it after that. The sessions must have been served until `served_until`.
    pub async fn ends_before_the_next(self, served_until: SystemTime) -> anyhow::Result<Cluster> {
        let cluster = self.cluster;
        let journaled_at = wait::until("a later epoch to serve", WITHIN, || async {
            let (last, status) = (newest(&cluster).await?, cluster.status().await?);
            anyhow::ensure!(last.epoch > self.before.epoch, "{last:?}");
            anyhow::ensure!(status.primary.as_ref() == Some(&last.primary), "{status:?}");
            // The journal has the opening a moment after it.
            journaled_at(&last)
        })
        .await?;
        let mut newest_at = SystemTime::UNIX_EPOCH;
        for (index, session) in self.sessions.into_iter().enumerate() {
            let acknowledged = session.broken(WITHIN).await?;
            let last = *acknowledged.last().context("never served")?;
            if index == 0 {
                anyhow::ensure!(last <= self.stopped_at, "a stopped backend acknowledged");
            }
            newest_at = newest_at.max(last);
        }
        anyhow::ensure!(newest_at >= served_until, "the sessions ended too early");
        let seen = self.watch.end()?;
        drop(self.procedure);
        anyhow::ensure!(
            seen.alive_after_release.is_empty(),
            "alive after the release: {:?}",
            seen.alive_after_release
        );
        seen.empty_at.context("the tree was never empty")?;
        let released_at = seen.released_at.context("no sign of a release")?;
        anyhow::ensure!(newest_at <= released_at, "acknowledged after the release");
        let opened_at = opened_at(&cluster, &self.before).await?;
        anyhow::ensure!(
            newest_at < opened_at && newest_at < journaled_at,
            "acknowledged by two primaries: {newest_at:?}, {opened_at:?}, {journaled_at:?}"
        );
        eprintln!("{}", describe(&seen, newest_at, opened_at));
        Ok(cluster)
    }
}

async fn newest(cluster: &Cluster) -> anyhow::Result<HistoryEntry> {
    let mut history = cluster.history().await?;
    history.pop().context("no change of primary")
}

/// When the gate of the newest epoch opened, by the journal.
fn journaled_at(entry: &HistoryEntry) -> anyhow::Result<SystemTime> {
    let steps = entry.steps();
    let step = |name: &str| {
        let found = steps.iter().find(|(known, _)| known == name);
        let ms = found.map(|(_, ms)| Duration::from_millis(*ms));
        ms.with_context(|| format!("no {name}: {entry:?}"))
    };
    // The entry has the time of its Revoke; its steps count from the fault.
    let revoked: jiff::Timestamp = entry.at.parse()?;
    Ok(SystemTime::from(revoked) + step("routed")?.saturating_sub(step("revoked")?))
}

/// When PostgreSQL became, or began as, the primary that serves now, by its own word.
async fn opened_at(cluster: &Cluster, before: &HistoryEntry) -> anyhow::Result<SystemTime> {
    let last = newest(cluster).await?;
    if last.timeline > before.timeline {
        let file = history_file(cluster.member(&last.primary)?, last.timeline);
        return Ok(file.metadata()?.modified()?);
    }
    let sql = "SELECT extract(epoch FROM pg_postmaster_start_time())::float8";
    let seconds: f64 = cluster.direct(&last.primary)?.value(sql).await?;
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds))
}

/// Before the promotion, in milliseconds.
fn describe(seen: &Seen, newest: SystemTime, promoted: SystemTime) -> String {
    let before = |at: SystemTime| promoted.duration_since(at).unwrap_or_default().as_millis();
    format!(
        "before the promotion: last acknowledged {} ms, tree empty {} ms, release {} ms",
        before(newest),
        seen.empty_at.map_or(0, before),
        seen.released_at.map_or(0, before)
    )
}
