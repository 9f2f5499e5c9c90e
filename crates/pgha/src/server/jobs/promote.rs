//! Promotes the standby to the timeline that was assigned to it.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use pgha_core::command::Opened;
use pgha_core::decide::{JobDone, slot_name};
use pgha_core::state::PrimaryRecord;
use pgha_core::{ClusterState, Epoch, StartKind};
use pgha_guard::clock;
use pgha_postgres::session::SlotSpec;

use super::JobContext;
use crate::server::{Desk, STATEMENT_MAX};

const PROMOTE_MAX: Duration = Duration::from_secs(45);

pub(super) async fn promote(context: &JobContext, epoch: Epoch) -> anyhow::Result<JobDone> {
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
