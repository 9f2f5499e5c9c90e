//! Jobs: work that takes longer than a step of the agent's loop. Each can be repeated from its
//! beginning after it was interrupted anywhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use pgha_core::command::Opened;
use pgha_core::decide::{JobDone, JobKind, slot_name};
use pgha_core::journal::LostRange;
use pgha_core::lineage::{Position, Verdict};
use pgha_core::state::PrimaryRecord;
use pgha_core::{ClusterState, Epoch, Lsn, MemberName, Secret, StartKind};
use pgha_guard::clock;
use pgha_postgres::job::{CloneOptions, JobOutcome, RewindOptions};
use pgha_postgres::session::{EndOfWal, SlotSpec};
use pgha_postgres::{Displace, InitdbOptions, Job, Session, initdb, job, timeline};
use tokio::sync::mpsc;

use super::{Desk, STATEMENT_MAX, Worker};

const PROMOTE_MAX: Duration = Duration::from_secs(45);
const CUT_MAX: Duration = Duration::from_secs(5);
/// Replay of what is in `pg_wal` may take this long before the job is given up and begun again.
const REPLAY_MAX: Duration = Duration::from_secs(60);
/// What was received is replayed within this, unless a reader is in the way.
const CATCH_UP_MAX: Duration = Duration::from_millis(150);
const CHECKPOINT_MAX: Duration = Duration::from_secs(600);
/// A job without progress for this long is given up.
const STALL_MAX: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(2);

/// What a job works with.
pub(crate) struct JobContext {
    pub(crate) worker: Worker,
    pub(crate) state: ClusterState,
    /// What the data held before, where known.
    pub(crate) settled: Option<Position>,
    pub(crate) superuser_password: Option<Secret>,
    /// Where a drawn password is kept.
    pub(crate) password_path: PathBuf,
    pub(crate) progress: mpsc::UnboundedSender<String>,
}

/// Does the job.
pub(crate) async fn run_job(kind: JobKind, context: JobContext) -> anyhow::Result<JobDone> {
    match kind {
        JobKind::Initialize => initialize(&context).await,
        JobKind::Settle => settle(&context.worker).await,
        JobKind::Promote { epoch } => promote(&context, epoch).await,
        JobKind::Clone { from, epoch } => clone(&context, &from, epoch).await,
        JobKind::Rewind { from, epoch } => rewind(&context, &from, epoch).await,
        JobKind::Checkpoint { handover } => {
            let mut desk = context.worker.desk().await;
            desk.session().await?.checkpoint(CHECKPOINT_MAX).await?;
            Ok(JobDone::Checkpointed(handover))
        }
    }
}

async fn initialize(context: &JobContext) -> anyhow::Result<JobDone> {
    let site = context.worker.site();
    let password = match &context.superuser_password {
        Some(password) => password.clone(),
        None => drawn_password(&context.password_path)?,
    };
    let options = InitdbOptions {
        superuser: site.superuser.clone(),
        password,
        locale: "C.UTF-8".to_owned(),
        epoch: context.state.epoch,
        stall_limit: STALL_MAX,
    };
    initdb(&site.installation, &site.layout, &options).await?;
    site.mark_fresh()?;
    site.mark(&context.state);
    Ok(JobDone::Initialized)
}

/// The superuser's password where nobody gave one: drawn once, in a file that only its owner reads.
fn drawn_password(path: &Path) -> anyhow::Result<Secret> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    if let Ok(text) = std::fs::read_to_string(path)
        && !text.trim().is_empty()
    {
        return Ok(Secret::new(text.trim().to_owned()));
    }
    let text = format!("{:032x}", rand::random::<u128>());
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    tracing::info!(path = %path.display(), "the superuser's password was drawn; it is in this file");
    Ok(Secret::new(text))
}

/// Ends the receiver for certain, then reads what is there.
async fn settle(worker: &Worker) -> anyhow::Result<JobDone> {
    let mut desk = worker.desk().await;
    let data_dir = worker.site().layout.data_dir.clone();
    let mut settings = desk.settings.clone();
    let session = desk.session().await?;
    session
        .cut_receiver(&data_dir, &mut settings, CUT_MAX)
        .await?;
    let position = position(session).await?;
    desk.settings = settings;
    Ok(JobDone::Settled {
        position,
        newest_history: timeline::newest_history(&data_dir)?,
    })
}

async fn position(session: &mut Session) -> anyhow::Result<Position> {
    let deadline = clock::now() + REPLAY_MAX;
    let received = loop {
        match session.end_of_wal(STATEMENT_MAX).await? {
            EndOfWal::Known(end) => break end,
            EndOfWal::Replaying { at, waits_for } if clock::now() >= deadline => {
                bail!(
                    "replay of pg_wal is at {at} after {REPLAY_MAX:?} and waits for {waits_for:?}"
                )
            }
            EndOfWal::Replaying { .. } => tokio::time::sleep(POLL * 5).await,
        }
    };
    // Fork ids show only as far as replay has come, and the end of the last whole record is what a
    // promotion forks at. A reader in the way must not hold up the report, though.
    let catch_up = clock::now() + CATCH_UP_MAX;
    let probe = loop {
        let probe = session.probe(STATEMENT_MAX).await?;
        let replayed = probe.replay.unwrap_or_default();
        let all_read = probe.startup_wait.as_deref() == Some("RecoveryRetrieveRetryInterval");
        if all_read || replayed >= received || clock::now() >= catch_up {
            break (
                probe.timeline,
                if all_read {
                    replayed
                } else {
                    received.max(replayed)
                },
            );
        }
        tokio::time::sleep(POLL).await;
    };
    let fork_ids: BTreeMap<_, _> = session
        .fork_rows(STATEMENT_MAX)
        .await?
        .into_iter()
        .collect();
    Ok(Position {
        timeline: probe.0,
        end: probe.1,
        fork_ids,
    })
}

async fn promote(context: &JobContext, epoch: Epoch) -> anyhow::Result<JobDone> {
    let record = record(&context.state, epoch)?;
    let fork = context
        .state
        .lineage
        .forks
        .get(&record.timeline)
        .filter(|fork| fork.epoch == epoch)
        .with_context(|| {
            format!(
                "timeline {} was not assigned to epoch {epoch}",
                record.timeline
            )
        })?
        .clone();
    let site = context.worker.site();
    let mut desk = context.worker.desk().await;
    make_slots(&mut desk, &context.state, record).await?;
    let own = context
        .settled
        .as_ref()
        .map_or(record.parent, |position| position.timeline);
    let session = desk.session().await?;
    let fork_lsn = session
        .promote(&site.layout.data_dir, own, record.timeline, PROMOTE_MAX)
        .await?;
    let fork_row_lsn = session
        .create_fork_row(record.timeline, &fork.fork_id, STATEMENT_MAX)
        .await?;
    let opened = Opened {
        epoch,
        timeline: record.timeline,
        fork_lsn: Some(fork_lsn),
        fork_row_lsn: Some(fork_row_lsn),
        steps: Vec::new(),
    };
    Ok(JobDone::Promoted(opened, clock::now()))
}

/// Before the promotion: a member that comes back must find the WAL from there on.
async fn make_slots(
    desk: &mut Desk,
    state: &ClusterState,
    record: &PrimaryRecord,
) -> anyhow::Result<()> {
    let others = state
        .data_members()
        .filter(|(name, _)| **name != record.node);
    let wanted: Vec<SlotSpec> = others
        .map(|(name, _)| SlotSpec {
            name: slot_name(record.timeline, name),
            keep_from: None,
        })
        .collect();
    desk.session()
        .await?
        .ensure_slots(&wanted, STATEMENT_MAX)
        .await?;
    Ok(())
}

fn record(state: &ClusterState, epoch: Epoch) -> anyhow::Result<&PrimaryRecord> {
    state
        .primary()
        .filter(|record| record.epoch == epoch && record.kind == StartKind::Promotion)
        .ok_or_else(|| anyhow!("epoch {epoch} has no promotion any more"))
}

async fn clone(context: &JobContext, from: &MemberName, epoch: Epoch) -> anyhow::Result<JobDone> {
    let site = context.worker.site();
    let (host, port) = postgres_of(&context.state, from)?;
    let options = CloneOptions {
        host,
        port,
        user: site.replication_user.clone(),
        passfile: site.layout.passfile(),
        member: site.name.0.clone(),
        epoch,
        stall_limit: STALL_MAX,
        displace: Displace::Keep(1),
    };
    let running = job::clone(site.installation.clone(), site.layout.clone(), options);
    let outcome = finish(running, from, "copied", &context.progress).await?;
    if let JobOutcome::Cloned { aside: Some(aside) } = &outcome {
        tracing::info!(path = %aside.display(), "the data directory that was here is kept");
    }
    site.mark(&context.state);
    Ok(JobDone::Replaced {
        lost: lost(context, None),
        rewound: None,
    })
}

async fn rewind(context: &JobContext, from: &MemberName, epoch: Epoch) -> anyhow::Result<JobDone> {
    let site = context.worker.site();
    let (host, port) = postgres_of(&context.state, from)?;
    let options = RewindOptions {
        host,
        port,
        user: site.replication_user.clone(),
        passfile: site.layout.passfile(),
        member: site.name.0.clone(),
        epoch,
        stall_limit: STALL_MAX,
    };
    let running = job::rewind(site.installation.clone(), site.layout.clone(), options);
    match finish(running, from, "rewound", &context.progress).await? {
        JobOutcome::RewindNotNeeded => {
            bail!("pg_rewind found nothing to do, although the data has left the line")
        }
        JobOutcome::Rewound { diverged } => Ok(JobDone::Replaced {
            lost: lost(context, diverged.map(|(lsn, _)| lsn)),
            rewound: Some(epoch),
        }),
        JobOutcome::Cloned { .. } => bail!("a rewind does not clone"),
    }
}

/// What this member had beyond the point where the cluster's line left it: given up now, so it is
/// told for good.
fn lost(context: &JobContext, diverged: Option<Lsn>) -> Option<(Epoch, LostRange)> {
    let position = context.settled.as_ref()?;
    let lineage = &context.state.lineage;
    let from = match lineage.judge(position, lineage.head) {
        Verdict::Diverged { at } if at > Lsn::ZERO => at,
        Verdict::Diverged { .. } | Verdict::OnLine | Verdict::Impostor { .. } => diverged?,
    };
    let (_, fork) = lineage
        .forks
        .iter()
        .find(|(_, fork)| fork.parent == position.timeline && fork.fork_lsn == from)?;
    Some((
        fork.epoch,
        LostRange {
            from,
            to: position.end,
            is_final: true,
        },
    ))
}

async fn finish(
    mut running: Job,
    from: &MemberName,
    verb: &str,
    told: &mpsc::UnboundedSender<String>,
) -> anyhow::Result<JobOutcome> {
    let mut progress = running.progress();
    loop {
        tokio::select! {
            outcome = running.wait() => return Ok(outcome?),
            Ok(()) = progress.changed() => {
                let at = *progress.borrow_and_update();
                let _ = told.send(describe(from, verb, at));
            }
        }
    }
}

fn describe(from: &MemberName, verb: &str, at: pgha_postgres::Progress) -> String {
    const MIB: u64 = 1 << 20;
    let done = at.done_bytes / MIB;
    match at.total_bytes / MIB {
        0 => format!("{done} MiB {verb} from {from}"),
        total => format!("{done} of {total} MiB {verb} from {from}"),
    }
}

fn postgres_of(state: &ClusterState, name: &MemberName) -> anyhow::Result<(String, u16)> {
    let member = state
        .members
        .get(name)
        .with_context(|| format!("no member {name}"))?;
    let address = &member.addresses.postgres;
    let (host, port) = address
        .rsplit_once(':')
        .with_context(|| format!("no port in {address}"))?;
    Ok((host.trim_matches(['[', ']']).to_owned(), port.parse()?))
}
