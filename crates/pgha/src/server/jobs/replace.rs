//! Replaces what is here by another member's data: by a rewind, or by a clone.

use anyhow::{Context as _, bail};
use pgha_core::decide::JobDone;
use pgha_core::journal::LostRange;
use pgha_core::lineage::Verdict;
use pgha_core::{ClusterState, Epoch, Lsn, MemberName};
use pgha_postgres::job::{CloneOptions, JobOutcome, RewindOptions};
use pgha_postgres::{Displace, Job, job};

use super::{JobContext, STALL_MAX};

pub(super) async fn clone(
    context: &JobContext,
    from: &MemberName,
    epoch: Epoch,
) -> anyhow::Result<JobDone> {
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
    let outcome = finish(running, from, "copied", context).await?;
    if let JobOutcome::Cloned { aside: Some(aside) } = &outcome {
        tracing::info!(path = %aside.display(), "the data directory that was here is kept");
    }
    site.mark(&context.state);
    Ok(JobDone::Replaced {
        lost: lost(context, None),
        rewound: None,
    })
}

pub(super) async fn rewind(
    context: &JobContext,
    from: &MemberName,
    epoch: Epoch,
) -> anyhow::Result<JobDone> {
    let site = context.worker.site();
    let (host, port) = postgres_of(&context.state, from)?;
    let options = RewindOptions {
        host,
        port,
        user: site.replication_user.clone(),
        passfile: site.layout.passfile(),
        member: site.name.0.clone(),
        epoch,
        unassigned: context
            .settled
            .as_ref()
            .map(|position| position.timeline)
            .filter(|timeline| context.state.lineage.path_to(*timeline).is_none()),
        stall_limit: STALL_MAX,
    };
    let running = job::rewind(site.installation.clone(), site.layout.clone(), options);
    match finish(running, from, "rewound", context).await? {
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
    context: &JobContext,
) -> anyhow::Result<JobOutcome> {
    let mut progress = running.progress();
    loop {
        tokio::select! {
            outcome = running.wait() => return Ok(outcome?),
            () = context.cancel.cancelled() => {
                running.cancel();
                return Ok(running.wait().await?);
            }
            Ok(()) = progress.changed() => {
                let at = *progress.borrow_and_update();
                let _ = context.progress.send(describe(from, verb, at));
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
